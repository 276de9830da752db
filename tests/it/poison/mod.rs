//! What wrong or changing data does to what has been learned: each case with what was decided for it.
//!
//! | what happens | what is meant to happen |
//! |---|---|
//! | a ramp of 0.5 % an hour | it is drift, and followed; a fault on top of it is named all the same |
//! | 1 % of hostile spans | those longer than a span can be are dropped and counted; the others neither raise nor hide an alarm |
//! | an incident of six hours | one incident from its begin to its end; nothing of it becomes normal; recovery is seen |
//! | the first minute is itself the incident | it is normal until it ends; its end alerts nobody; half an hour later it is forgotten |
//! | a deployment that is lawfully half as slow again | one incident, which is closed and learned after `detection.adopt_after` |
//! | fewer samples than the minimum | nothing is flagged, whatever they are |
//! | replies are lost, and requests sent again; a queue of an hour ago is replayed | counted as duplicate, late or too old; what is published is as without them |
//! | constant, zero and bimodal series | nothing is flagged |

mod again;
mod changes;
mod samples;
mod street;
