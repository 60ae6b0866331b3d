//! Checks that AGENTS.md and the skills in `.agents/skills/` name only existing files and tests.

use std::path::Path;

use crate::security::{assert_names_exist, paths, quoted};

const ENTRY: &str = include_str!("../../AGENTS.md");

/// The name of each skill's directory and its text.
fn skills() -> Vec<(String, String)> {
    let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join(".agents/skills");
    let directories = std::fs::read_dir(skills).unwrap().map(Result::unwrap);
    directories
        .map(|directory| {
            let text = std::fs::read_to_string(directory.path().join("SKILL.md")).unwrap();
            (directory.file_name().into_string().unwrap(), text)
        })
        .collect()
}

#[test]
fn every_path_and_test_that_the_pages_for_assistants_name_exists() {
    let skills = skills();
    assert!(skills.len() >= 6, "{} skills", skills.len());
    let pages = skills.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, page) in pages.chain([("AGENTS.md", ENTRY)]) {
        assert!(paths(page).count() > 3, "{name} names too few paths");
        assert_names_exist(name, page);
        let is_source = |word: &&str| Path::new(word).extension().is_some_and(|end| end == "rs");
        for word in quoted(page).filter(is_source).filter(|word| !word.contains('<')) {
            let whole = paths(word).next().is_some();
            assert!(whole, "{name}: write `{word}` with its path from the root");
        }
    }
}

#[test]
fn every_skill_has_a_name_and_a_description_and_the_entry_links_to_it() {
    for (name, text) in skills() {
        let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        let (front, steps) = front.unwrap_or_else(|| panic!("{name} has no front matter"));
        let fields: Vec<_> = front.lines().filter_map(|line| line.split_once(": ")).collect();
        assert_eq!(fields[0], ("name", name.as_str()), "{name}");
        assert!(fields[1].0 == "description" && fields[1].1.starts_with("Use"), "{name}");
        assert!(steps.lines().count() <= 60, "{name} has more than 60 lines");
        assert!(ENTRY.contains(&format!("(.agents/skills/{name}/SKILL.md)")), "{name}: no link");
    }
}
