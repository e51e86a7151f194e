//! The JSON schemas of every component's config, kept in docs/schemas/ and checked by diff.
//!
//! `GAIA_BLESS=1 cargo test -p gaia-tests --test schemas` writes them anew.

use std::collections::BTreeMap;

use builder_core::Registry;
use gaia_cli as _;
use gaia_tests::repository;

#[test]
fn the_schemas_in_docs_are_those_of_the_code() {
    let registry = Registry::linked().unwrap();
    let mut schemas = BTreeMap::new();
    let mut add = |kind: &str, about: builder_core::registry::About| {
        let mut text = serde_json::to_string_pretty(&(about.schema)()).unwrap();
        text.push('\n');
        schemas.insert(format!("{kind}-{}.json", about.key), text);
    };
    registry.builders.values().for_each(|e| add("builder", e.about));
    registry.provisioners.values().for_each(|e| add("provisioner", e.about));
    registry.post_processors.values().for_each(|e| add("post-processor", e.about));
    registry.communicators.values().for_each(|e| add("communicator", e.about));

    let folder = repository().join("docs/schemas");
    if std::env::var_os("GAIA_BLESS").is_some() {
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        schemas.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    }
    let entries = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    let kept: BTreeMap<_, _> = entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(kept.keys().eq(schemas.keys()), "other files than {:?}: run with GAIA_BLESS=1", schemas.keys());
    for (name, text) in &schemas {
        assert!(kept[name] == *text, "docs/schemas/{name} is not what the code says: run with GAIA_BLESS=1");
    }
}
