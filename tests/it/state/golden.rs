//! Snapshots of every version released so far (`tests/fixtures/snapshot/`) are read to this day: what was
//! learned, the incident that was open. `BLESS=1` adds one of the present version; none is ever changed.

use std::path::Path;
use std::sync::Arc;

use laghound::engine::Engine;
use laghound::live::snapshot::image::{Image, VERSION};
use laghound::model::Interner;

use crate::world::{Setup, World};

/// A world with an hour of memory, an incident that is over and one that is open.
fn present() -> Image {
    let mut world = World::new(Setup::new(11));
    for _ in 0..2 {
        world.pass(600);
        world.traffic.slow_ms = 100;
        world.pass(60);
        world.traffic.slow_ms = 0;
        world.pass(150);
    }
    world.traffic.slow_ms = 100;
    world.pass(60);
    world.image()
}

#[test]
fn snapshots_of_all_versions_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshot");
    let newest = folder.join(format!("version-{VERSION}.snapshot"));
    if std::env::var_os("BLESS").is_some() && !newest.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&newest, present().bytes()).unwrap();
    }
    for version in 1..=VERSION {
        let path = folder.join(format!("version-{version}.snapshot"));
        let bytes = std::fs::read(&path).unwrap_or_else(|_| panic!("{path:?}: run with BLESS=1"));
        let image = Image::open(bytes).unwrap();
        assert_eq!(image.version(), version);
        let setup = Setup::new(11);
        let names = Arc::new(Interner::new(setup.names));
        let mut content = image.content().unwrap();
        let at = image.saved_at();
        let restored = Engine::restore(setup.params, names, 2, &mut content, at, at).unwrap();
        assert!(restored.baselines);
        let board = restored.engine.board();
        assert!(!board.learning);
        assert_eq!((board.open.len(), board.closed.len()), (1, 2));
        for incident in board.open.iter().chain(&board.closed) {
            assert_eq!(&*incident.suspects[0].service, "stock");
        }
    }
}
