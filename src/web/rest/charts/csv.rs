//! Charts as CSV (RFC 4180), with named columns in any order.

use crate::{
    domain::{
        charts::{Employee, EmployeeLine, LineErrors, ManagedBy},
        quote,
    },
    error::{Error, FieldErrors, Result},
};

/// The maximum number of lines in one import.
pub(super) const MAX_LINES: usize = 200_000;

/// A parsed list.
#[derive(Debug)]
pub(in crate::web::rest) struct EmployeeList {
    pub(in crate::web::rest) lines: Vec<EmployeeLine>,
    /// How the lines refer to managers.
    pub(in crate::web::rest) managed_by: ManagedBy,
    /// Whether the list gives ids.
    pub(in crate::web::rest) has_ids: bool,
}

struct Columns {
    id: Option<usize>,
    name: usize,
    title: usize,
    key: usize,
    manager: usize,
    managed_by: ManagedBy,
}

/// Parses a list with a header line: `name`, `title`, and `manager_id` (with `id`) or `manager`,
/// which refers to the column `key`, `email` or `name`, the first of them that exists.
pub(in crate::web::rest) fn read(text: &[u8]) -> Result<EmployeeList> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let header = reader.headers().map_err(|e| Error::field(line_of(&e), reason_of(&e)))?;
    let columns = columns(header)?;
    let mut lines = Vec::new();
    let mut errors = FieldErrors::default();
    for (number, record) in reader.records().enumerate() {
        if number >= MAX_LINES {
            return Err(Error::field("", "has more than 200000 lines"));
        }
        match record {
            Ok(record) if errors.is_empty() => lines.push(columns.line(&record)),
            Ok(_) => {}
            Err(error) => errors.push(line_of(&error), reason_of(&error)),
        }
    }
    if !errors.is_empty() {
        return Err(errors.into_error());
    }
    Ok(EmployeeList { lines, managed_by: columns.managed_by, has_ids: columns.id.is_some() })
}

/// A list of everyone, which [`read`] parses to the same chart.
pub(in crate::web::rest) fn write(people: &[Employee]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::Internal(format!("a list was not written: {e}"));
    writer.write_record(["id", "name", "title", "manager_id"]).map_err(failed)?;
    for person in people {
        let id = person.id.to_string();
        let manager = person.manager.map(|id| id.to_string()).unwrap_or_default();
        let record = [&id, person.name.as_str(), person.title.as_str(), &manager];
        writer.write_record(record).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| Error::Internal(format!("a list was not written: {e}")))
}

/// Wrong lines of a list as field errors.
pub(in crate::web::rest) fn refusal(refused: LineErrors) -> Error {
    let mut errors = FieldErrors::default();
    for error in refused.listed {
        errors.push(format!("line {}", error.line), error.message);
    }
    errors.leave_out(refused.more);
    errors.into_error()
}

fn columns(header: &csv::StringRecord) -> Result<Columns> {
    const KNOWN: [&str; 7] = ["id", "name", "title", "manager_id", "manager", "key", "email"];
    let mut names: Vec<&str> = Vec::new();
    for cell in header {
        let Some(name) = KNOWN.into_iter().find(|name| name.eq_ignore_ascii_case(cell)) else {
            return Err(Error::field(quote(cell).to_lowercase(), "is not a column of a list"));
        };
        if names.contains(&name) {
            return Err(Error::field(name, "is in the header twice"));
        }
        names.push(name);
    }
    let column = |name: &str| names.iter().position(|known| *known == name);
    let needed = |name: &str| column(name).ok_or_else(|| Error::field(name, "is required"));
    let (name, title, id) = (needed("name")?, needed("title")?, column("id"));
    let (manager, managed_by) = match (column("manager_id"), column("manager")) {
        (Some(_), None) if id.is_none() => {
            return Err(Error::field("id", "is required with manager_id"));
        }
        (Some(manager), None) => (manager, ManagedBy::Id),
        (None, Some(manager)) => (manager, ManagedBy::Key),
        (None, None) => return Err(Error::field("manager_id", "or manager is required")),
        (Some(_), Some(_)) => {
            return Err(Error::field("manager", "cannot be used with manager_id"));
        }
    };
    let key = column("key").or_else(|| column("email")).unwrap_or(name);
    Ok(Columns { id, name, title, key, manager, managed_by })
}

impl Columns {
    fn line(&self, record: &csv::StringRecord) -> EmployeeLine {
        let cell = |column: usize| record.get(column).unwrap_or_default().to_owned();
        EmployeeLine {
            line: record.position().map_or(0, csv::Position::line),
            id: self.id.map(cell),
            key: cell(self.key),
            name: cell(self.name),
            title: cell(self.title),
            manager: cell(self.manager),
        }
    }
}

fn line_of(error: &csv::Error) -> String {
    error.position().map_or_else(String::new, |position| format!("line {}", position.line()))
}

fn reason_of(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells instead of {expected_len}")
        }
        other => format!("cannot be read: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        ChartId, EmployeeId, Label,
        charts::place,
        hostile::{almost, any_text, soon},
    };

    fn refused(text: &str) -> (String, String) {
        match read(text.as_bytes()) {
            Err(Error::Validation(errors)) => {
                let first = errors.iter().next().unwrap();
                (first.field().to_owned(), first.message().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let list =
            read(b"\xEF\xBB\xBFTitle, Name ,manager\nCEO,Ada,\nCTO,\"Lovelace, B\",Ada\n").unwrap();
        assert_eq!((list.managed_by, list.has_ids), (ManagedBy::Key, false));
        assert_eq!(list.lines[1].name, "Lovelace, B");
        assert_eq!((list.lines[1].line, list.lines[1].manager.as_str()), (3, "Ada"));
        let list = read(b"email,name,title,manager\na@b.c,Ada,CEO,\n").unwrap();
        assert_eq!(list.lines[0].key, "a@b.c");
    }

    #[test]
    fn a_refused_list_names_the_wrong_column_or_line() {
        assert_eq!(refused("name,title\n").0, "manager_id");
        assert_eq!(refused("name,manager\n").0, "title");
        assert_eq!(refused("name,title,manager_id\n").0, "id");
        assert_eq!(refused("name,title,manager,manager_id,id\n").0, "manager");
        assert_eq!(refused("name,name,title,manager\n").0, "name");
        assert_eq!(refused("name,title,manager,salary\n").0, "salary");
        assert_eq!(refused(""), ("name".to_owned(), "is required".to_owned()));
        let (field, message) = refused("name,title,manager\nAda,CEO\n");
        assert_eq!((field.as_str(), message.as_str()), ("line 2", "has 2 cells instead of 3"));
        assert!(read(b"name,title,manager\n\xFF,x,\n").is_err());
    }

    /// A chart of people with odd names, each below an earlier one.
    fn people() -> impl Strategy<Value = Vec<Employee>> {
        let label = || prop_oneof!["[A-Z][a-z]{1,9}".boxed(), any_text().boxed()];
        let name = label().prop_filter_map("no name", |text| Label::parse(&text).ok());
        let title = label().prop_filter_map("no title", |text| Label::parse_title(&text).ok());
        let person = (name, title, any::<prop::sample::Index>());
        prop::collection::vec(person, 1..8).prop_map(|people| {
            let person = |(number, (name, title, manager)): (i64, (_, _, prop::sample::Index))| {
                let above = usize::try_from(number - 1).unwrap();
                let manager = (above > 0).then(|| i64::try_from(manager.index(above) + 1).unwrap());
                Employee {
                    id: EmployeeId::from(number),
                    chart: ChartId::from(1),
                    name,
                    title,
                    manager: manager.map(EmployeeId::from),
                    ancestors: Vec::new(),
                    created_at: chrono::DateTime::UNIX_EPOCH,
                    updated_at: chrono::DateTime::UNIX_EPOCH,
                }
            };
            (1..).zip(people).map(person).collect()
        })
    }

    /// A person's id, name, title and manager.
    type Fact = (i64, String, String, Option<i64>);

    /// Everyone in a list.
    fn facts(text: &[u8]) -> Option<Vec<Fact>> {
        let list = soon(|| read(text)).ok()?;
        let placed = soon(|| place(&list.lines, list.managed_by)).ok()?;
        let fact = |p: crate::domain::charts::Placed| {
            let (name, title) = (p.name.as_str().to_owned(), p.title.as_str().to_owned());
            (p.id.get(), name, title, p.ancestors.last().map(|manager| manager.get()))
        };
        Some(placed.into_iter().map(fact).collect())
    }

    proptest! {
        #[test]
        fn hostile_lists_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in almost(people().prop_map(|p| String::from_utf8(write(&p).unwrap()).unwrap())),
        ) {
            let with_header = [b"name,title,manager\n", bytes.as_slice()].concat();
            for list in [&bytes, &with_header, &text.into_bytes()] {
                let _ = facts(list);
            }
        }

        #[test]
        fn a_list_is_read_as_it_was_written_whatever_the_names(people in people()) {
            let fact = |p: &Employee| {
                let (name, title) = (p.name.as_str().to_owned(), p.title.as_str().to_owned());
                (p.id.get(), name, title, p.manager.map(EmployeeId::get))
            };
            let expected = people.iter().map(fact).collect::<Vec<_>>();
            prop_assert_eq!(facts(&write(&people).unwrap()), Some(expected));
        }
    }
}
