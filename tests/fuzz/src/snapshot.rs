//! Snapshots: the file as a whole, and its content without the checksums that would keep the fuzzer out.
//! What is taken for a judge must live like one, and be saved and read again as the same.
#![no_main]

use std::sync::Arc;

use laghound::engine::{Engine, EngineParams};
use laghound::live::snapshot::image::Image;
use laghound::model::{InternLimits, Interner, Nanos, Timestamp};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn names() -> Arc<Interner> {
    Arc::new(Interner::new(InternLimits::default()))
}

fn restored(mut content: &[u8]) -> Option<Engine> {
    let params = EngineParams::default();
    let restored = Engine::restore(params, names(), 1, &mut content, NOW, NOW).ok()?;
    Some(restored.engine)
}

fn saved(engine: &Engine) -> Vec<u8> {
    let mut content = Vec::new();
    engine.save(&mut content).expect("a list takes it all");
    content
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = Image::open(bytes.to_vec()) {
        let _ = image.content().map(|mut content| std::io::copy(&mut content, &mut std::io::sink()));
    }
    let Some(mut engine) = restored(bytes) else { return };
    let once = saved(&engine);
    let again = restored(&once).expect("what was saved can be restored");
    assert!(saved(&again) == once, "saving and restoring changes nothing any more");
    assert_eq!(engine.board().open, again.board().open);
    let mut now = NOW;
    for _ in 0..40 {
        now = now + Nanos::from_secs(5);
        engine.tick(now);
    }
    engine.finish(now);
    engine.board();
});
