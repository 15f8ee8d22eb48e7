//! Generates the JSON Schema and the reference of pipeline files from the table of keys.

use serde_json::{Map, Value, json};

use crate::keys::{
    self, EXTRACT, EXTRACT_SOURCES, KINDS, Key, ROOT, STEP, STEP_KINDS, STEPS, Section, Shape,
};
use crate::{Locale, Pipeline, expr, template};

impl Pipeline {
    /// Returns the JSON Schema (draft 2020-12) of pipeline files, for editors. A test keeps
    /// `docs/pipeline.schema.json` equal to it.
    pub fn json_schema() -> Value {
        let mut schema = Map::new();
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!("Rowmill pipeline"));
        if let Value::Object(root) = object(&[&ROOT]) {
            schema.extend(root);
        }
        Value::Object(schema)
    }

    /// Returns the reference in Markdown: every key with its type, default and meaning, and what
    /// expressions and templates can use. A test keeps `docs/pipeline.md` equal to it.
    pub fn reference_markdown() -> String {
        let code = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
            names.join(", ")
        };
        let of = |member: bool| {
            let functions = expr::functions().filter(|f| f.1 == member);
            functions.map(|f| f.0).collect::<Vec<_>>()
        };
        include_str!("reference.md")
            .replace("{keys}", &keys_markdown())
            .replace("{functions}", &code(&of(false)))
            .replace("{methods}", &code(&of(true)))
            .replace("{filters}", &code(template::filters_known()))
            .replace("{tests}", &code(template::tests_known()))
    }
}

fn object(sections: &[&'static Section]) -> Value {
    let keys = || sections.iter().flat_map(|s| s.keys);
    let properties: Map<String, Value> = keys().map(|k| (k.name.to_owned(), property(k))).collect();
    let required: Vec<&str> = keys()
        .filter(|k| k.default.is_none())
        .map(|k| k.name)
        .collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    let default = match key.default {
        None | Some("-") => String::new(),
        Some(default) => format!(" Default: {default}."),
    };
    schema["description"] = json!(format!("{}{default}", key.meaning));
    schema
}

fn shape(shape: &Shape) -> Value {
    let text = || json!({"type": "string", "minLength": 1});
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let values = |of: Value| json!({"type": "object", "additionalProperties": of});
    match shape {
        Shape::Text | Shape::Template | Shape::Expression => text(),
        Shape::Texts => json!({"type": "array", "items": text()}),
        // Arguments of a program can be empty, and can repeat.
        Shape::Program => json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        Shape::OneOf(allowed) => json!({"enum": allowed}),
        Shape::SheetRef => json!({"anyOf": [text(), {"type": "integer", "minimum": 1}]}),
        Shape::Whole(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Shape::Statuses => json!({
            "type": "array",
            "items": {"type": "integer", "minimum": 100, "maximum": 599},
            "uniqueItems": true,
        }),
        Shape::Count => json!({"type": "integer", "minimum": 1}),
        Shape::Number => json!({"type": "number", "exclusiveMinimum": 0}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::True => json!({"const": true}),
        Shape::Duration => pattern(r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)$"),
        Shape::Rate => pattern(r"^[0-9]+(\.[0-9]+)?\s*/\s*(s|m|h)$"),
        Shape::Memory | Shape::Storage => pattern(r"^[0-9]+(\.[0-9]+)?\s*(MiB|GiB)$"),
        Shape::Tolerance => json!({"anyOf": [
            pattern(r"^[0-9]+(\.[0-9]+)?\s*%$"),
            {"type": "integer", "minimum": 0},
        ]}),
        Shape::Templates => values(text()),
        Shape::Types => values(json!({"enum": KINDS})),
        Shape::Locales => values(json!({"enum": Locale::NAMES})),
        Shape::Extracts => {
            let mut one = object(&[&EXTRACT]);
            let sources = EXTRACT_SOURCES.map(|key| json!({"required": [key]}));
            one["oneOf"] = json!(sources);
            one["dependentRequired"] = json!({"all": ["css"], "attribute": ["css"]});
            let mut all = values(one);
            all["minProperties"] = json!(1);
            all
        }
        Shape::Secrets => {
            let name = pattern("^[A-Z][A-Z0-9_]*$");
            json!({"anyOf": [
                {"type": "array", "items": name},
                {"type": "object", "propertyNames": name, "additionalProperties": text()},
            ]})
        }
        Shape::Parameters => values(json!({"anyOf": [text(), object(&[&keys::PARAMETER])]})),
        Shape::Service => json!({"oneOf": [{"const": "amazon"}, object(&[&keys::SERVER])]}),
        Shape::Table(section) => object(&[section]),
        Shape::Tables(section) => json!({"type": "array", "items": object(&[section])}),
        Shape::Steps => {
            let kinds = STEP_KINDS.iter().zip(STEPS).map(|(kind, section)| {
                let mut step = object(&[&STEP, section]);
                step["properties"]["kind"] = json!({
                    "const": kind,
                    "description": section.meaning,
                });
                step
            });
            json!({"type": "array", "items": {"oneOf": kinds.collect::<Vec<_>>()}})
        }
    }
}

fn keys_markdown() -> String {
    let order: [&Section; 27] = [
        &ROOT,
        &keys::PARAMETER,
        &keys::INPUT,
        &keys::LIMITS,
        &STEP,
        STEPS[0],
        &EXTRACT,
        &keys::AUTH,
        &keys::OAUTH,
        &keys::DIGEST,
        &keys::PAGES,
        &keys::NEXT,
        &keys::CURSOR,
        &keys::PAGE,
        &keys::OFFSET,
        STEPS[1],
        &keys::FETCH,
        STEPS[2],
        STEPS[3],
        STEPS[4],
        &keys::SERVER,
        STEPS[5],
        &keys::CHECK,
        &keys::COLUMN,
        &keys::REVIEW,
        &keys::REPORT,
        &keys::NOTIFY,
    ];
    let sections: Vec<String> = order
        .into_iter()
        .chain([&keys::BATCH])
        .map(section_markdown)
        .collect();
    sections.join("\n")
}

fn section_markdown(section: &'static Section) -> String {
    let mut text = format!(
        "### {}\n\n{}\n\n| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |\n",
        section.title, section.meaning
    );
    for key in section.keys {
        let default = match key.default {
            None => "required".to_owned(),
            Some(d) if d.starts_with(|c: char| c.is_ascii_digit() || "\"[{".contains(c)) => {
                format!("`{d}`")
            }
            Some(d) => d.to_owned(),
        };
        text += &format!(
            "| `{}` | {} | {default} | {} |\n",
            key.name,
            shape_words(&key.shape),
            key.meaning
        );
    }
    text
}

fn shape_words(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Texts | Shape::Program => "list of texts".to_owned(),
        Shape::OneOf(allowed) if allowed.len() == KINDS.len() => "type".to_owned(),
        Shape::OneOf(allowed) => allowed
            .iter()
            // A bar would end the cell of the table.
            .map(|a| format!("`\"{}\"`", a.replace('|', "\\|")))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::SheetRef => "text or whole number".to_owned(),
        Shape::Whole(least, most) => format!("whole number, {least} to {most}"),
        Shape::Statuses => "list of whole numbers".to_owned(),
        Shape::Count => "whole number above 0".to_owned(),
        Shape::Number => "number above 0".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::True => "`true`".to_owned(),
        Shape::Duration => "duration".to_owned(),
        Shape::Rate => "rate".to_owned(),
        Shape::Memory | Shape::Storage => "`MiB` or `GiB`".to_owned(),
        Shape::Tolerance => "share in `%`, or whole number".to_owned(),
        Shape::Template => "template".to_owned(),
        Shape::Templates => "table of templates".to_owned(),
        Shape::Expression => "expression".to_owned(),
        Shape::Types => "table: column = type".to_owned(),
        Shape::Locales => "table: column = locale".to_owned(),
        Shape::Extracts => "table: column = { .. }".to_owned(),
        Shape::Secrets => "list of names, or table: name = text".to_owned(),
        Shape::Parameters => "table: name = text or table".to_owned(),
        Shape::Service => "`\"amazon\"` or table".to_owned(),
        Shape::Table(_) => "table".to_owned(),
        Shape::Tables(_) | Shape::Steps => "list of tables".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Asserts that a file under `docs/` has this content. With `ROWMILL_BLESS=1`, writes it first.
    #[expect(clippy::disallowed_methods, reason = "only tests read this variable")]
    fn assert_documented(name: &str, generated: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs")
            .join(name);
        if std::env::var_os("ROWMILL_BLESS").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == generated,
            "docs/{name} is out of date: run ROWMILL_BLESS=1 cargo test -p rowmill-pipeline"
        );
    }

    #[test]
    fn the_generated_docs_are_up_to_date() {
        let schema = serde_json::to_string_pretty(&Pipeline::json_schema()).unwrap() + "\n";
        assert_documented("pipeline.schema.json", &schema);
        assert_documented("pipeline.md", &Pipeline::reference_markdown());
    }

    #[test]
    fn the_schema_and_the_reference_contain_every_key() {
        let schema = Pipeline::json_schema();
        let http = &schema["properties"]["step"]["items"]["oneOf"][0];
        assert_eq!(http["properties"]["kind"]["const"], "http");
        assert_eq!(http["required"], json!(["kind", "url", "outputs"]));
        assert_eq!(
            schema["properties"]["batch"]["properties"]["concurrency"]["maximum"],
            1000
        );
        let reference = Pipeline::reference_markdown();
        for section in
            STEPS
                .iter()
                .copied()
                .chain([&ROOT, &keys::PARAMETER, &STEP, &EXTRACT, &keys::SERVER])
        {
            for key in section.keys {
                let row = format!("| `{}` |", key.name);
                assert!(reference.contains(&row), "{row}");
            }
        }
        assert!(!reference.contains("{keys}"));
    }

    #[test]
    fn code_in_headings_is_closed() {
        let reference = Pipeline::reference_markdown();
        let headings: Vec<_> = reference.lines().filter(|l| l.starts_with('#')).collect();
        assert!(headings.len() > 20, "{headings:?}");
        for heading in headings {
            assert_eq!(heading.matches('`').count() % 2, 0, "{heading}");
            assert!(!heading.contains("``"), "{heading}");
        }
    }
}
