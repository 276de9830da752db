//! Decoders that wait for work, with the names they remember.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Interner;
use crate::otlp::attributes::AttributeRules;
use crate::otlp::decoder::Decoder;

/// As many decoders as have ever been needed at once, up to a bound. Taken and given back once a request.
pub(super) struct DecoderPool {
    names: Arc<Interner>,
    rules: Arc<AttributeRules>,
    idle: Mutex<Vec<Decoder>>,
}

impl DecoderPool {
    /// Decoding happens on the threads of the async runtime, without waiting in between, so no more are
    /// ever busy than there are threads; the bound is for machines with very many.
    const MAX_IDLE: usize = 64;

    pub(super) fn new(names: Arc<Interner>, rules: Arc<AttributeRules>) -> DecoderPool {
        DecoderPool { names, rules, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `work` with a decoder. The lock is held only to take it and to give it back.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Decoder) -> T) -> T {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decoder =
            idle.unwrap_or_else(|| Decoder::new(Arc::clone(&self.names), Arc::clone(&self.rules)));
        let result = work(&mut decoder);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < DecoderPool::MAX_IDLE {
            idle.push(decoder);
        }
        result
    }
}
