//! JSONPath (RFC 9535), within a budget.
//!
//! A path with several `..` visits a value once for each combination of values around it. Its segments are
//! evaluated one after the other, on one value at a time, so that the budget is checked in between.

use serde_json::Value;
use serde_json_path::{JsonPath, ParseError};

use super::super::lenient::Json;
use super::budget::Budget;

/// Steps per value that a segment looks at: it may be stored in a list.
const VALUE_STEPS: usize = 4;
/// Steps per value if a filter has a regular expression, which is compiled each time.
const REGEX_STEPS: usize = 256;
/// Largest number of values that a path selects.
const FOUND_MAX: usize = 2_000_000;

/// A path, and which parts of a document it can select.
pub(super) struct Path {
    whole: Stage,
    /// Its segments as paths, if evaluating it at once may take long.
    stages: Option<Vec<Stage>>,
    /// The leading parts that can be followed while a document is parsed.
    pub(super) parts: Vec<Part>,
}

struct Stage {
    path: JsonPath,
    /// How many `..` it contains, in filters too.
    descents: u32,
    /// How many lists of values from the root a filter evaluates for each value.
    lists_from_root: u32,
    has_filter: bool,
    has_regex: bool,
}

/// A segment that selects by name or position, or everything.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// `.name` or `['name']`
    Name(String),
    /// `[0]`
    Index(usize),
    /// `.*` or `[*]`
    Any,
    /// `..name` or `..['name']`
    Deep(String),
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Path, ParseError> {
        let path = JsonPath::parse(text)?;
        let segments = split(text);
        // The root of a segment is not that of the document.
        let is_relative = !text[1..].contains('$');
        let parts = match (&segments, is_relative) {
            (Some(segments), true) => segments.iter().map_while(|segment| part(segment)).collect(),
            _ => Vec::new(),
        };
        let is_quick = text.matches("..").count() < 2 && is_relative && !has_regex(text);
        let stages = match segments {
            Some(segments) if is_relative => segments.into_iter().map(Stage::new).collect(),
            _ => None,
        };
        Ok(Path {
            stages: match is_quick {
                true => None,
                false => Some(stages.unwrap_or_else(|| vec![Stage::whole(path.clone(), text)])),
            },
            whole: Stage::whole(path, text),
            parts,
        })
    }

    /// The values that the path selects. They are not complete if the budget is spent.
    pub(super) fn select<'a>(&self, json: &'a Json, budget: &Budget) -> Vec<&'a Value> {
        match &json.rounded {
            // A filter compares numbers. Both documents have the same structure.
            Some(rounded) if self.whole.has_filter => {
                if !budget.spend(self.whole.steps(rounded)) {
                    return Vec::new();
                }
                let found = self.whole.path.query_located(rounded);
                let pointers = found.locations().map(|at| at.to_json_pointer());
                pointers.filter_map(|at| json.exact.pointer(&at)).collect()
            }
            _ => self.query(&json.exact, budget),
        }
    }

    pub(super) fn query<'a>(&self, json: &'a Value, budget: &Budget) -> Vec<&'a Value> {
        let Some(stages) = &self.stages else {
            return self.whole.path.query(json).all();
        };
        let mut found = vec![json];
        for stage in stages {
            let mut next = Vec::new();
            for value in found {
                if !budget.spend(stage.steps(value)) {
                    return Vec::new();
                }
                next.append(&mut stage.path.query(value).all());
                if next.len() > FOUND_MAX {
                    budget.spend(usize::MAX);
                    return Vec::new();
                }
            }
            found = next;
        }
        found
    }
}

fn has_regex(text: &str) -> bool {
    text.contains("match(") || text.contains("search(")
}

impl Stage {
    fn new(segment: &str) -> Option<Stage> {
        let path = JsonPath::parse(&format!("${segment}")).ok()?;
        Some(Stage::whole(path, segment))
    }

    /// A segment, or a path that refers to the root of the document in a filter.
    fn whole(path: JsonPath, text: &str) -> Stage {
        let filters = text.matches('?').count();
        let is_list = text.contains("..") || text.contains(['*', ':']) || filters > 1;
        let from_root = text.matches('$').count().saturating_sub(1);
        Stage {
            path,
            descents: text.matches("..").count() as u32,
            lists_from_root: if is_list { from_root as u32 } else { 0 },
            has_filter: filters > 0,
            has_regex: has_regex(text),
        }
    }

    /// An upper bound of the work on a value.
    fn steps(&self, value: &Value) -> usize {
        if self.descents == 0 && !self.has_filter {
            return VALUE_STEPS
                * match value {
                    Value::Array(items) => items.len().max(1),
                    Value::Object(members) => members.len().max(1),
                    _ => 1,
                };
        }
        let (size, depth) = size(value);
        let visits = size
            .saturating_mul(depth.saturating_pow(self.descents.saturating_sub(1)))
            .saturating_mul(size.saturating_pow(self.lists_from_root));
        visits.saturating_mul(match self.has_regex {
            true => REGEX_STEPS,
            false => VALUE_STEPS,
        })
    }
}

/// The number of values in a value, and how deep they are. Not deeper than the parser allows.
fn size(value: &Value) -> (usize, usize) {
    let inner = |values: &mut dyn Iterator<Item = &Value>| {
        let sizes = values.map(size);
        sizes.fold((1, 1), |(all, deepest), (size, depth)| {
            (all + size, deepest.max(depth + 1))
        })
    };
    match value {
        Value::Array(items) => inner(&mut items.iter()),
        Value::Object(members) => inner(&mut members.values()),
        _ => (1, 1),
    }
}

/// The segments of a path. `None` if it is written in a way that this does not know.
fn split(path: &str) -> Option<Vec<&str>> {
    let mut rest = path.strip_prefix('$')?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let dots = rest.len() - rest.trim_start_matches('.').len();
        let end = match rest[dots..].chars().next()? {
            '[' if dots != 1 => dots + bracket_end(&rest[dots..])?,
            _ if dots == 0 || dots > 2 => return None,
            _ => {
                let name = &rest[dots..];
                dots + name
                    .find(['.', '[', ' ', '\t', '\n', '\r'])
                    .unwrap_or(name.len())
            }
        };
        segments.push(&rest[..end]);
        rest = &rest[end..];
    }
    Some(segments)
}

/// The index after the bracket that closes the first one.
fn bracket_end(text: &str) -> Option<usize> {
    let (mut open, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(end), c) => quote = quote.filter(|_| c != end),
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => open += 1,
            (None, ']') if open == 1 => return Some(at + 1),
            (None, ']') => open -= 1,
            _ => {}
        }
    }
    None
}

/// A segment that can be followed while parsing.
fn part(segment: &str) -> Option<Part> {
    let (is_deep, segment) = match segment.strip_prefix("..") {
        Some(rest) => (true, rest),
        None => (false, segment.strip_prefix('.').unwrap_or(segment)),
    };
    let name = match segment {
        "*" | "[*]" => return (!is_deep).then_some(Part::Any),
        _ => match segment.strip_prefix('[') {
            None => segment,
            Some(inner) => {
                let inner = inner.strip_suffix(']')?;
                if let (false, Ok(index)) = (is_deep, inner.parse()) {
                    return Some(Part::Index(index));
                }
                let quote = inner.chars().next().filter(|c| ['\'', '"'].contains(c))?;
                let name = inner.strip_prefix(quote)?.strip_suffix(quote)?;
                if name.contains([quote, '\\']) {
                    return None;
                }
                name
            }
        },
    };
    let name = name.to_owned();
    Some(match is_deep {
        true => Part::Deep(name),
        false => Part::Name(name),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::marker::PhantomData;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::budget::Spent;
    use super::*;

    #[test]
    fn paths_are_split_into_segments() {
        for (path, expected) in [
            ("$", Some(vec![])),
            ("$.a['b'][0]", Some(vec![".a", "['b']", "[0]"])),
            (
                "$..a..[?@.b == ']\\'']..*",
                Some(vec!["..a", "..[?@.b == ']\\'']", "..*"]),
            ),
            (
                "$[?@[?@.x]]['é\"'].ü",
                Some(vec!["[?@[?@.x]]", "['é\"']", ".ü"]),
            ),
            ("$ .a", None),
            ("$.a [0]", None),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
        let parts = |path| Path::parse(path).unwrap().parts;
        let name = |name: &str| Part::Name(name.to_owned());
        assert_eq!(
            parts("$.a['b c'][*].*..d[0].e"),
            [
                name("a"),
                name("b c"),
                Part::Any,
                Part::Any,
                Part::Deep("d".into()),
                Part::Index(0),
                name("e")
            ]
        );
        for path in [
            "$",
            "$[-1].a",
            "$..[0].a",
            "$..*",
            "$['a\\n']",
            "$['a','b']",
            "$[?@.a]",
            "$.a[?@.b == $.c]",
        ] {
            assert_eq!(parts(path), [], "{path}");
        }
    }

    /// Any document of objects with few names, arrays and numbers.
    pub(in super::super) fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            (0..3).prop_map(Value::from),
            Just(json!("a"))
        ];
        leaf.prop_recursive(5, 60, 4, |inner| {
            let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    pub(in super::super) fn path() -> impl Strategy<Value = String> {
        let segments = vec![
            ".a",
            ".b",
            "['c']",
            "[\"a\"]",
            ".*",
            "[*]",
            "..a",
            "..b",
            "..['c']",
            "..*",
            "..[0]",
            "[0]",
            "[-1]",
            "[1:]",
            "['a','b']",
            "[?@.a]",
            "..[?@.b == 1]",
            "[?@..a]",
            "..[?@[?@.a]..b]",
            "[?count(@..*) > 2]",
            "[?match(@, 'a')]",
            "[?@.a == $.a]",
            "[?$..b]",
            "..[?@.a == $..b[0].a]",
        ];
        prop::collection::vec(prop::sample::select(segments), 0..5)
            .prop_map(|segments| format!("${}", segments.concat()))
            .prop_filter("valid", |path| JsonPath::parse(path).is_ok())
    }

    proptest! {
        #[test]
        fn segments_select_what_the_path_selects(json in document(), text in path()) {
            let path = Path::parse(&text).unwrap();
            let found = path.query(&json, &Budget::unlimited());
            let expected = path.whole.path.query(&json).all();
            let same = found.iter().zip(&expected).all(|(a, b)| std::ptr::eq(*a, *b));
            prop_assert!(same && found.len() == expected.len(), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn filters_compare_integers_of_any_size_as_numbers() {
        let json = r#"[{"n":12345678901234567890123,"id":1},{"n":5,"id":98765432109876543210987}]"#;
        let parse = |json: &str| {
            let all = |_| PhantomData::<Option<Value>>;
            super::super::super::lenient::parse(json, &all).unwrap()
        };
        let json = parse(json);
        let select = |path: &str| -> Vec<Value> {
            let path = Path::parse(path).unwrap();
            let found = path.select(&json, &Budget::unlimited());
            found.into_iter().cloned().collect()
        };
        assert_eq!(select("$[?@.n > 1000].id"), [json!(1)]);
        assert_eq!(
            select("$[?@.n < 1000].id"),
            [json!("98765432109876543210987")]
        );
        assert_eq!(select("$[?@.n == 12345678901234567890123].n").len(), 1);
        assert_eq!(select("$[0].n"), [json!("12345678901234567890123")]);
        // Beyond a double.
        let huge = format!("{{\"n\":{}}}", "9".repeat(400));
        let found = parse(&huge);
        let path = Path::parse("$.n").unwrap();
        assert_eq!(
            path.select(&found, &Budget::unlimited()),
            [&json!("9".repeat(400))]
        );
    }

    #[test]
    fn paths_that_visit_values_again_and_again_are_limited() {
        let mut nested = json!([1, 2, 3]);
        for _ in 0..100 {
            nested = json!([nested, { "a": 1 }]);
        }
        let wide = Value::Array(vec![json!({"a": 1, "b": {"c": "x"}}); 9_000]);
        for (json, path) in [
            (&nested, "$..*..*..*..*"),
            (&nested, "$..[*]..[*]..[*]..a"),
            (&nested, "$..[?@..[?@..[?@..b]]]"),
            (&wide, "$[?$..x]"),
            (&wide, "$[?count($[*].b) > 1]"),
            (&wide, "$[*][?search(@.c, '(a{99}){99}')]"),
        ] {
            let path = Path::parse(path).unwrap();
            let budget = Budget::of(0, Instant::now() + Duration::from_secs(3600));
            assert!(path.query(json, &budget).is_empty());
            assert_eq!(budget.check(), Err(Spent::Steps));
        }
        let budget = Budget::of(0, Instant::now() + Duration::from_secs(3600));
        let path = Path::parse("$..[*]..a").unwrap();
        assert!(!path.query(&nested, &budget).is_empty());
        let path = Path::parse("$[?@.a == $[0].a].b.c").unwrap();
        let few = Value::Array(vec![json!({"a": 1, "b": {"c": "x"}}); 20]);
        assert_eq!(path.query(&few, &budget).len(), 20);
    }
}
