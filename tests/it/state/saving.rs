//! Whatever stops a save, what is found next is the old snapshot or the new one; and what is no sound
//! snapshot is set aside.

use std::io::{ErrorKind, Read};

use laghound::live::snapshot::image::{Defect, Image};
use laghound::live::snapshot::store::{DRAFT, FILE, Found, MAX_SET_ASIDE, Store};
use laghound::model::{Nanos, Timestamp};
use laghound::sim::Random;

use crate::world::disk::{FaultyDisk, Step};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// An image that tells its number, and is long enough to be torn.
fn image(number: u8) -> Image {
    let mut draw = Random::new(u64::from(number), 0);
    let noise: Vec<u8> = (0..60).flat_map(|_| draw.bits().to_le_bytes()).collect();
    Image::take(NOW + Nanos::from_secs(number.into()), |out| {
        out.write_all(&[number])?;
        out.write_all(&noise)
    })
    .unwrap()
}

/// The number of the image that is found; `None` if there is none.
fn number(disk: &FaultyDisk) -> Option<u8> {
    match Store::new(disk.clone()).load(NOW) {
        Found::Nothing => None,
        Found::Image(found) => {
            let mut content = Vec::new();
            found.content().unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(found, image(content[0]), "whole");
            Some(content[0])
        }
        other => panic!("{other:?}"),
    }
}

/// A disk on which the image 1 has been saved.
fn with_one() -> FaultyDisk {
    let disk = FaultyDisk::default();
    Store::new(disk.clone()).save(&image(1)).unwrap();
    disk.recover();
    disk
}

/// Steps of a save.
fn steps() -> Vec<Step> {
    let disk = with_one();
    Store::new(disk.clone()).save(&image(2)).unwrap();
    disk.steps()
}

#[test]
fn the_steps_of_a_save_are_those_of_the_recipe() {
    let recipe = [
        Step::Remove,
        Step::Create,
        Step::Append,
        Step::SyncFile,
        Step::Rename,
        Step::SyncDirectory,
    ];
    assert_eq!(steps(), recipe);
}

#[test]
fn a_process_killed_at_any_step_of_a_save_leaves_the_old_snapshot_or_the_new_one() {
    for killed_at in 0..=steps().len() {
        let disk = with_one();
        disk.kill_after(killed_at);
        let saved = Store::new(disk.clone()).save(&image(2));
        disk.recover();
        let found = number(&disk).expect("one of the two");
        assert!(found == 1 || found == 2);
        if saved.is_ok() {
            assert_eq!(found, 2, "what was said to be saved is");
        }
        // A draft left behind is in nobody's way.
        Store::new(disk.clone()).save(&image(3)).unwrap();
        assert_eq!(number(&disk), Some(3));
        assert_eq!(disk.get(DRAFT), None);
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_snapshot_or_the_new_one() {
    for seed in 0..200 {
        for cut_at in 0..=steps().len() {
            let disk = with_one();
            disk.kill_after(cut_at);
            let saved = Store::new(disk.clone()).save(&image(2));
            disk.recover();
            disk.power_cut(&mut Random::new(seed, cut_at as u64));
            let found = number(&disk).expect("one of the two");
            assert!(found == 1 || found == 2);
            if saved.is_ok() {
                assert_eq!(found, 2, "what was said to be saved is, seed {seed}");
            }
        }
    }
}

#[test]
fn the_first_save_cut_at_any_step_leaves_nothing_or_the_snapshot() {
    for seed in 0..200 {
        for cut_at in 0..=steps().len() {
            let disk = FaultyDisk::default();
            disk.kill_after(cut_at);
            let saved = Store::new(disk.clone()).save(&image(1)).is_ok();
            disk.recover();
            disk.power_cut(&mut Random::new(seed, cut_at as u64));
            assert!([None, Some(1)].contains(&number(&disk)));
            assert!(!saved || number(&disk) == Some(1));
        }
    }
}

/// The oracle of the two tests above: on a disk that lies about syncing, torn files do come up, and are
/// found out.
#[test]
fn a_disk_that_only_says_it_has_synced_loses_snapshots_but_never_passes_off_a_torn_one() {
    let mut torn = 0;
    for seed in 0..200 {
        let disk = with_one();
        disk.lie();
        Store::new(disk.clone()).save(&image(2)).unwrap();
        disk.recover();
        disk.power_cut(&mut Random::new(seed, 0));
        match Store::new(disk.clone()).load(NOW) {
            Found::Image(found) => assert!(found == image(1) || found == image(2)),
            Found::SetAside(Defect::Corrupt(_) | Defect::Foreign, Some(_)) => torn += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(torn > 20, "{torn} of 200");
}

#[test]
fn a_full_or_broken_disk_fails_the_save_names_the_step_and_keeps_the_old_snapshot() {
    for (step, words) in [
        (Step::Remove, "remove an unfinished draft"),
        (Step::Create, "create a draft"),
        (Step::Append, "write the draft"),
        (Step::SyncFile, "sync the draft"),
        (Step::Rename, "put the draft in place"),
    ] {
        for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other] {
            let disk = with_one();
            disk.fail(step, kind);
            let error = Store::new(disk.clone()).save(&image(2)).unwrap_err();
            assert_eq!((error.step, error.source.kind()), (words, kind));
            assert_eq!(number(&disk), Some(1));
            disk.recover();
            Store::new(disk.clone()).save(&image(2)).unwrap();
            assert_eq!(number(&disk), Some(2), "as soon as the disk is well again");
        }
    }
}

#[test]
fn a_file_whose_sync_failed_is_not_synced_again_but_written_anew() {
    let disk = with_one();
    disk.fail(Step::SyncFile, ErrorKind::Other);
    let store = Store::new(disk.clone());
    store.save(&image(2)).unwrap_err();
    let after = disk.steps().into_iter().skip_while(|step| *step != Step::SyncFile);
    assert_eq!(after.collect::<Vec<_>>(), [Step::SyncFile, Step::Remove]);
    disk.recover();
    store.save(&image(2)).unwrap();
    assert_eq!(disk.steps(), steps());
}

#[test]
fn a_directory_that_cannot_be_synced_fails_the_save() {
    let disk = with_one();
    disk.fail(Step::SyncDirectory, ErrorKind::Other);
    let error = Store::new(disk.clone()).save(&image(2)).unwrap_err();
    assert_eq!(error.step, "sync the directory");
    assert_eq!(number(&disk), Some(2), "it is there, but may not outlast a power cut");
}

#[test]
fn what_is_no_sound_snapshot_is_set_aside_under_its_reason_and_the_last_three_are_kept() {
    let disk = FaultyDisk::default();
    let store = Store::new(disk.clone());
    for second in 0..5 {
        disk.put(FILE, vec![b'?'; second]);
        let now = NOW + Nanos::from_secs(second as u64);
        let Found::SetAside(defect, Some(name)) = store.load(now) else { panic!() };
        assert_eq!(defect == Defect::Foreign, second > 0, "an empty file is a cut one");
        assert_eq!(name, format!("{FILE}.{}-{}", defect.as_str(), 1_790_000_000 + second));
        assert_eq!(disk.get(&name), Some(vec![b'?'; second]));
        assert!(matches!(store.load(now), Found::Nothing), "cold from here");
    }
    let kept: Vec<String> = laghound::live::snapshot::disk::Disk::names(&disk).unwrap();
    assert_eq!(kept.len(), MAX_SET_ASIDE);
    assert!(kept.iter().all(|name| !name.ends_with("0000") && !name.ends_with("0001")));
    store.save(&image(1)).unwrap();
    assert_eq!(number(&disk), Some(1));
}

#[test]
fn what_cannot_be_set_aside_is_said_and_the_next_save_replaces_it() {
    let disk = FaultyDisk::default();
    disk.put(FILE, b"?".to_vec());
    disk.fail(Step::Rename, ErrorKind::ReadOnlyFilesystem);
    let found = Store::new(disk.clone()).load(NOW);
    assert!(matches!(found, Found::SetAside(Defect::Foreign, None)), "{found:?}");
    disk.recover();
    Store::new(disk.clone()).save(&image(1)).unwrap();
    assert_eq!(number(&disk), Some(1));
}

#[test]
fn ten_gigabytes_are_set_aside_unread() {
    use laghound::live::snapshot::disk::{Directory, Disk};
    let place = tempfile::tempdir().unwrap();
    // Sparse: takes no room.
    let file = std::fs::File::create(place.path().join(FILE)).unwrap();
    file.set_len(10 << 30).unwrap();
    let directory = Directory::new(place.path());
    let found = Store::new(directory.clone()).load(NOW);
    let Found::SetAside(Defect::TooLarge, Some(name)) = found else { panic!("{found:?}") };
    assert_eq!(directory.length(&name).unwrap(), Some(10 << 30));
}

#[test]
fn a_directory_of_the_system_keeps_what_is_saved_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    use laghound::live::snapshot::disk::Directory;
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::new(place.path().join("state"));
    directory.make().unwrap();
    let store = Store::new(directory.clone());
    assert!(matches!(store.load(NOW), Found::Nothing));
    store.save(&image(1)).unwrap();
    store.save(&image(2)).unwrap();
    let Found::Image(found) = store.load(NOW) else { panic!() };
    assert_eq!(found, image(2));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path().to_owned()), 0o700);
    assert_eq!(mode(directory.path().join(FILE)), 0o600);
}
