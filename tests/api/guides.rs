//! Checks the README and the guides: their commands run, their answers match, their links work.

mod compare;
mod page;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use compare::Comparison;
use page::{Page, Step};
use tenantry::config::{SECRETS, VARIABLES};

use crate::support::{Database, ServerProcess};

/// The server's address as printed in the guides.
const PRINTED_API: &str = "http://127.0.0.1:8080";

/// A guide's blocks as one shell program, with `number` for `$RANDOM`.
fn program(page: &Page, api: &str, number: u32) -> String {
    let steps = page.steps.iter().enumerate().map(|(at, step)| {
        let mark = format!("printf '\\036{at}\\n'");
        format!("{mark}\n{mark} >&2\n{}", step.script.replace(PRINTED_API, api))
    });
    // Each curl reports its status. `-q` and NO_PROXY ignore this machine's settings.
    format!(
        "set -euo pipefail\nunset RANDOM\nRANDOM={number}\nexport NO_PROXY='*'\n\
         curl() {{ command curl -q --max-time 60 -w '%{{stderr}}\\nHTTP %{{http_code}}\\n' \"$@\"; }}\n\
         {}printf '\\036year\\n%s' \"${{YEAR:-}}\"\n",
        steps.collect::<String>()
    )
}

/// Runs the guide against the server.
fn run_guide(
    page: &Page,
    server: &ServerProcess,
    database: &Database,
    number: u32,
) -> Result<(), String> {
    let api = format!("http://{}", server.client.address());
    let output = Command::new("bash")
        .args(["-c", &program(page, &api, number)])
        .current_dir(scratch())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    let (written, errors) = (blocks(&output.stdout), blocks(&output.stderr));
    if !output.status.success() {
        let line = page.steps.get(errors.len().saturating_sub(1)).map_or(0, |step| step.line);
        let error = errors.last().map_or("", |text| text.trim());
        return Err(format!("{}:{line}: failed: {error}", page.name));
    }
    let year = written.last().cloned().unwrap_or_default();
    let names = [(api, PRINTED_API), (database.tenants.clone(), "tenantry_tenants")];
    let mut comparison = Comparison::new(names, number, &year);
    for ((step, written), errors) in page.steps.iter().zip(&written).zip(&errors) {
        check(step, written, errors, &mut comparison)
            .map_err(|(line, e)| format!("{}:{line}: {e}", page.name))?;
    }
    Ok(())
}

/// The output of each block. The program prints a mark before each of them.
fn blocks(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let parts = text.split('\u{1e}').skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(_, text)| text.to_owned()).collect()
}

/// The directory for the guides' files.
fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guides");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Asserts that each block shows all its output and each failed request.
fn check(
    step: &Step,
    written: &str,
    errors: &str,
    comparison: &mut Comparison,
) -> Result<(), (usize, String)> {
    let statuses = errors.lines().filter_map(|line| line.strip_prefix("HTTP "));
    let failed: Vec<u64> =
        statuses.filter_map(|status| status.parse().ok()).filter(|status| *status >= 400).collect();
    let shown = step.answer.as_ref().map_or_else(Vec::new, page::Answer::statuses);
    if failed != shown {
        return Err((step.line, format!("failed with {failed:?}, but the page shows {shown:?}")));
    }
    match &step.answer {
        Some(answer) => comparison.check(answer, written).map_err(|error| (answer.line, error)),
        None if written.trim().is_empty() => Ok(()),
        None => Err((step.line, format!("prints what the page does not show: {written}"))),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files in a directory of the repository.
fn documents(dir: &str) -> BTreeSet<PathBuf> {
    let files = std::fs::read_dir(root().join(dir)).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn read(path: &Path) -> Page {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    Page::parse(&name, &std::fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
async fn the_readme_and_every_guide_work_as_printed_twice() {
    let mut paths = documents("docs/guides");
    paths.insert(root().join("README.md"));
    let pages: Vec<Page> = paths.iter().map(|path| read(path)).collect();
    let with_steps = pages.iter().filter(|page| !page.steps.is_empty()).count();
    assert!(with_steps >= 4, "only {with_steps} guides have blocks to run");

    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let mut wrong = Vec::new();
    let runs = [&pages, &pages].into_iter().flatten();
    for (number, page) in (10_001..).zip(runs) {
        wrong.extend(run_guide(page, &server, &database, number).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    database.assert_recovered().await;
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn a_guide_with_a_wrong_answer_fails_with_its_name_and_line() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let asks = "# Guide\n\n```sh\nAPI=http://127.0.0.1:8080\ncurl -sS \"$API/health/live\"\n```\n";
    let cases = [
        ("```json\n{\"state\":\"ok\"}\n```\n", "guide.md:8: answer 1 has the keys"),
        ("```json\n{\"status\":\"fine\"}\n```\n", "guide.md:8: answer 1.status is \"ok\""),
        ("```json\n{\"status\":\"ok\"}\n{\"status\":\"ok\"}\n```\n", "guide.md:8: 1 answers"),
        ("```text\nok\n```\n", "guide.md:8: line 1 is"),
        ("## Another section\n```json\n{\"status\":\"ok\"}\n```\n", "guide.md:3: prints what"),
        ("```sh\ncurl -sS \"$API/nowhere\" > /dev/null\n```\n", "guide.md:3: prints what"),
        ("```json\n{\"status\":\"ok\"}\n```\n```sh\nfalse\n```\n", "guide.md:11: failed"),
        (
            "```json\n{\"status\":\"ok\"}\n```\n```sh\ncurl -so /dev/null \"$API/nowhere\"\n```\n",
            "guide.md:11: failed with [404], but the page shows []",
        ),
    ];
    for (answer, expected) in cases {
        let page = Page::parse("guide.md", &format!("{asks}\n{answer}")).unwrap();
        let error = run_guide(&page, &server, &database, 1).expect_err(answer);
        assert!(error.starts_with(expected), "{answer}: {error}");
    }
    let right = format!("{asks}\n```json\n{{\"status\":\"ok\"}}\n```\n");
    run_guide(&Page::parse("guide.md", &right).unwrap(), &server, &database, 1).unwrap();
    let unknown = Page::parse("guide.md", "```bash\ntrue\n```\n").err();
    assert_eq!(unknown.as_deref(), Some("guide.md:1: a block of the unknown kind `bash`"));
    drop(server);
    database.drop_all();
}

#[test]
fn the_configuration_guide_lists_every_variable_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/guides/configuration.md")).unwrap();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let listed: BTreeSet<_> = cells
        .flat_map(|cell| cell.trim_end_matches('`').split("`, `"))
        .filter(|name| !name.starts_with("tenantry"))
        .map(str::to_owned)
        .collect();
    let variables = VARIABLES.iter().map(|(name, _)| (*name).to_owned());
    let files = SECRETS.iter().map(|name| format!("{name}_FILE"));
    assert_eq!(listed, variables.chain(files).collect());
}

#[test]
fn every_link_between_the_documents_has_a_target() {
    let paths = [".", "docs", "docs/guides"].into_iter().flat_map(documents);
    let pages: Vec<(PathBuf, Page)> = paths
        .map(|path| path.canonicalize().unwrap())
        .map(|path| (path.clone(), read(&path)))
        .collect();
    let mut broken = Vec::new();
    let mut links = 0;
    for (path, page) in &pages {
        for (line, link) in page.links.iter().filter(|(_, link)| !link.contains("://")) {
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let target = target.canonicalize();
            let found = target.is_ok_and(|target| {
                let linked = pages.iter().find(|(path, _)| *path == target);
                anchor.is_empty() || linked.is_some_and(|(_, page)| page.anchors.contains(anchor))
            });
            if !found {
                broken.push(format!("{}:{line}: {link}", page.name));
            }
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
