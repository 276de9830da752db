//! The crate from outside.

mod scenarios;
