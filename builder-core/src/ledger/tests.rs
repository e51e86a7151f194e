use std::io::Write as _;

use super::*;
use crate::clock::Clock;

fn begin(build_id: &str) -> Record {
    Record::Begin {
        version: VERSION,
        build_id: build_id.to_owned(),
        build_name: "amazon-ebs".into(),
        build_type: "amazon-ebs".into(),
        started: Clock::fixed().start(),
        pid: 7,
    }
}

fn intent(n: u64, lifetime: Lifetime) -> Record {
    let resource = Resource {
        kind: "instance".into(),
        name: format!("gaia-{n}"),
        region: "us-west-2".into(),
        lifetime,
        details: std::collections::BTreeMap::new(),
    };
    Record::Intent { n, resource }
}

fn written(store: &DirStore, id: &str, records: &[Record]) {
    let mut journal = store.create(id).unwrap();
    records.iter().for_each(|r| journal.append(r).unwrap());
}

#[test]
fn what_remains_follows_from_the_records() {
    use Lifetime::{Artifact, Temporary};
    let created = |n| Record::Created { n, id: format!("i-{n}") };
    // records after the intents 1 (temporary), 2 (artifact), 3 (temporary); what remains, newest first
    let rows: [(&[Record], &[u64]); 6] = [
        (&[], &[3, 2, 1]),
        (&[created(1), created(2)], &[3, 2, 1]),
        (&[Record::Failed { n: 3, error: String::new() }], &[2, 1]),
        (&[created(1), created(2), created(3), Record::Committed], &[3, 1]),
        (&[Record::Committed, Record::Reclaimed { n: 1 }, Record::Reclaimed { n: 3 }], &[]),
        (&[created(9), Record::Reclaimed { n: 8 }], &[3, 2, 1]),
    ];
    for (more, expected) in rows {
        let mut replay = Replay::default();
        let intents = [intent(1, Temporary), intent(2, Artifact), intent(3, Temporary)];
        intents.iter().chain(more).for_each(|r| replay.apply(r));
        assert_eq!(replay.remaining().iter().map(|e| e.n).collect::<Vec<_>>(), expected, "{more:?}");
    }
}

#[test]
fn a_ledger_survives_torn_and_broken_lines() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path().join("made/when/needed"));
    let path = dir.path().join("made/when/needed/b1.jsonl");
    written(&store, "b1", &[begin("b1"), intent(1, Lifetime::Temporary)]);
    let good = std::fs::read(&path).unwrap();
    let line_two = good.iter().position(|b| *b == b'\n').unwrap() + 1;
    let mut flipped = good.clone();
    let last = flipped.len() - 10;
    flipped[last] ^= 1;
    // what is in the file, entries that are read
    let rows: [(&str, Vec<u8>, usize); 7] = [
        ("whole", good.clone(), 1),
        ("no end of line", good[..good.len() - 1].to_vec(), 0),
        ("torn", good[..good.len() - 9].to_vec(), 0),
        ("a flipped bit", flipped, 0),
        ("garbage after", [good.as_slice(), b"\0\xff\xfe garbage"].concat(), 1),
        ("garbage line between", [&good[..line_two], b"{}\n", &good[line_two..]].concat(), 1),
        ("empty", Vec::new(), 0),
    ];
    for (name, bytes, entries) in rows {
        std::fs::write(&path, bytes).unwrap();
        let (replay, mut journal) = store.open("b1").unwrap();
        assert_eq!(replay.entries.len(), entries, "{name}");
        journal.append(&intent(2, Lifetime::Temporary)).unwrap();
        drop(journal);
        let (replay, _) = store.read("b1").unwrap();
        assert_eq!(replay.entries.len(), entries + 1, "{name}: a record after a torn one is read");
    }
}

#[test]
fn a_ledger_is_held_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path());
    assert_eq!(store.list().unwrap(), Vec::<String>::new());
    let mut journal = store.create("b2").unwrap();
    journal.append(&begin("b2")).unwrap();
    written(&store, "b1", &[begin("b1")]);
    assert_eq!(store.list().unwrap(), ["b1", "b2"]);
    assert_eq!(store.open("b2").unwrap_err(), LedgerError::InUse { build_id: "b2".into() });
    let (replay, running) = store.read("b2").unwrap();
    assert!(running && replay.build_id == "b2");
    drop(journal);
    assert!(!store.read("b2").unwrap().1);
    store.open("b2").unwrap().1.discard().unwrap();
    assert_eq!(store.list().unwrap(), ["b1"]);
    for id in ["b2", "../b1", "", "b1.jsonl"] {
        assert!(matches!(store.open(id), Err(LedgerError::NotFound { .. })), "{id}");
    }
}

#[test]
fn a_newer_ledger_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path());
    let mut newer = begin("b1");
    if let Record::Begin { version, .. } = &mut newer {
        *version = VERSION + 1;
    }
    written(&store, "b1", &[newer]);
    let before = std::fs::read(dir.path().join("b1.jsonl")).unwrap();
    assert!(matches!(store.open("b1"), Err(LedgerError::Version { .. })));
    assert_eq!(std::fs::read(dir.path().join("b1.jsonl")).unwrap(), before);
}

#[test]
fn a_ledger_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path().join("ledger"));
    written(&store, "b1", &[begin("b1")]);
    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ledger"), mode("ledger/b1.jsonl")), (0o700, 0o600));
}

#[test]
fn a_ledger_that_cannot_be_written_says_where_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::File::create(&file).unwrap().write_all(b"not a directory").unwrap();
    let error = DirStore::new(&file).create("b1").unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot create the ledger {}", file.join("b1.jsonl").display())), "{error}");
}
