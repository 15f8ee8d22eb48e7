//! How two pipeline files differ, for runs that continue the results of another run.

use toml::{Table, Value};

use crate::pipeline::Pipeline;

/// Sections that cannot change what steps do.
const AFTER_STEPS: [&str; 6] = [
    "description",
    "check",
    "column",
    "review",
    "report",
    "notify",
];

/// How a pipeline differs from an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Whether `[input]` differs, which decides what the records are.
    pub input: bool,
    /// The number of steps, from the first, that are the same and whose results can be used again.
    pub same_steps: u16,
    /// Whether the files differ at most in checks, derived columns, `[[review]]`, `[report]`, `[notify]`
    /// and the description. The results of all steps can be used again.
    pub only_after_steps: bool,
    /// Whether both files have the same steps, in the same order.
    pub all_steps_same: bool,
    /// The added columns whose definition differs, in the order of the files: those of the new file, then
    /// those that only the earlier one has.
    pub columns: Vec<ColumnChange>,
}

/// How an added column differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnChange {
    /// Only the new file has the column.
    New(String),
    /// Both have it, with different definitions.
    Redefined(String),
    /// Only the earlier file has it.
    Gone(String),
}

/// Compares two pipeline files that are valid.
///
/// # Errors
/// A text is not TOML.
pub fn compare(
    (before_text, before): (&str, &Pipeline),
    (after_text, after): (&str, &Pipeline),
) -> Result<Changes, toml::de::Error> {
    let (old, new): (Table, Table) = (toml::from_str(before_text)?, toml::from_str(after_text)?);
    let same = |key: &str| old.get(key) == new.get(key);
    // Steps use secrets and parameters by name.
    let usable = same("secrets") && same("parameters");
    let (old_steps, new_steps) = (list(&old, "step"), list(&new, "step"));
    let equal = old_steps.iter().zip(new_steps).take_while(|(a, b)| a == b);
    let same_steps = if usable { equal.count() } else { 0 };
    let keys = old.keys().chain(new.keys());
    let only_after_steps = keys
        .filter(|key| !AFTER_STEPS.contains(&key.as_str()))
        .all(|key| same(key));

    let is_redefined = |name: &String| match (
        definition(before, &old, name),
        definition(after, &new, name),
    ) {
        (Some((step, a)), Some((_, b))) => a != b || step.is_some_and(|step| step >= same_steps),
        _ => false,
    };
    let (had, has) = (before.added_columns(), after.added_columns());
    let mut columns = Vec::new();
    for name in &has {
        if !had.contains(name) {
            columns.push(ColumnChange::New(name.clone()));
        } else if is_redefined(name) {
            columns.push(ColumnChange::Redefined(name.clone()));
        }
    }
    let gone = had.into_iter().filter(|name| !has.contains(name));
    columns.extend(gone.map(ColumnChange::Gone));
    Ok(Changes {
        input: !same("input"),
        same_steps: same_steps as u16,
        only_after_steps,
        all_steps_same: [old_steps, new_steps].map(<[Value]>::len) == [same_steps; 2],
        columns,
    })
}

/// The part of a file that defines an added column: a step, with its index, or a derived column.
fn definition<'a>(
    pipeline: &Pipeline,
    file: &'a Table,
    name: &str,
) -> Option<(Option<usize>, &'a Value)> {
    let mut steps = pipeline.steps.iter();
    if let Some(step) = steps.position(|step| step.outputs().contains(&name)) {
        return Some((Some(step), list(file, "step").get(step)?));
    }
    let at = pipeline
        .columns
        .iter()
        .position(|column| column.name == name)?;
    Some((None, list(file, "column").get(at)?))
}

fn list<'a>(file: &'a Table, key: &str) -> &'a [Value] {
    let list = file.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

impl Pipeline {
    /// Returns the columns that the first `steps` steps add.
    pub fn outputs_of(&self, steps: u16) -> Vec<&str> {
        let steps = self.steps.iter().take(usize::from(steps));
        steps.flat_map(|step| step.outputs()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
[[step]]
kind = "command"
program = ["a"]
outputs = ["a"]
[[step]]
kind = "command"
program = ["b"]
outputs = ["b", "c"]
[[column]]
name = "sum"
value = "a + b"
[[column]]
name = "old"
value = "a"
[batch]
attempts = 3
"#;

    fn changes(after: &str) -> Changes {
        let parse = |text| Pipeline::parse("p.toml", text).unwrap();
        compare((BEFORE, &parse(BEFORE)), (after, &parse(after))).unwrap()
    }

    #[test]
    fn what_steps_return_depends_on_all_but_what_follows_them() {
        let same = changes(&format!("# only a comment\n{BEFORE}"));
        assert!(same.only_after_steps && !same.input && same.columns.is_empty());
        assert_eq!((same.same_steps, same.all_steps_same), (2, true));

        let later = BEFORE.replace("a + b", "a - b");
        let later = later.replace("\"old\"", "\"new\"");
        let more =
            "[[check]]\nrule = 'a == 1'\n[report]\nchart = 'b'\n[notify]\nto = ['a@b.example']\n";
        let later = changes(&format!("description = 'd'\n{later}{more}"));
        assert!(later.only_after_steps);
        assert_eq!(
            later.columns,
            [
                ColumnChange::Redefined("sum".into()),
                ColumnChange::New("new".into()),
                ColumnChange::Gone("old".into()),
            ]
        );

        for (from, to, steps) in [
            ("program = [\"b\"]", "program = [\"b\", \"-x\"]", 1),
            ("program = [\"a\"]", "program = [\"x\"]", 0),
            ("attempts = 3", "attempts = 4", 2),
        ] {
            let step = changes(&BEFORE.replace(from, to));
            assert!(!step.only_after_steps, "{to}");
            assert_eq!(step.same_steps, steps, "{to}");
            assert_eq!(step.all_steps_same, steps == 2, "{to}");
        }
        let step = changes(&BEFORE.replace("program = [\"b\"]", "program = [\"x\"]"));
        let redefined = ["b", "c"].map(|name| ColumnChange::Redefined(name.into()));
        assert_eq!(step.columns, redefined);

        let input = changes(&format!("{BEFORE}[input]\nkey = ['ID']\n"));
        assert!(input.input && !input.only_after_steps);
        let parameters = changes(&format!("{BEFORE}[parameters]\nx = '1'\n"));
        assert_eq!(
            (parameters.same_steps, parameters.only_after_steps),
            (0, false)
        );
    }
}
