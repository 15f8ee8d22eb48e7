use proptest::prelude::*;

use super::*;
use rowmill_domain::record::{Columns, Outputs, Record};
use rowmill_domain::value::Kind;

/// Evaluates over: `Customer ID` = "C-1", `Note` and the output `owner` absent, `n` = 7,
/// `t` = "abc", `tax_due` = 812, `zip` = "00501", `ok` = true, `Since` = 2024-03-01.
fn eval(source: &str) -> Result<Value, String> {
    let columns = Columns::new(["Customer ID", "Note", "n", "t", "Since"]);
    let record = Record {
        row: 2,
        values: vec![
            Some(Value::from("C-1")),
            None,
            Some(Value::Number(7.0)),
            Some(Value::from("abc")),
            Value::parse("2024-03-01", Kind::Date),
        ],
    };
    let outputs: Outputs = vec![
        ("tax_due".into(), Value::Number(812.0)),
        ("zip".into(), Value::from("00501")),
        ("ok".into(), Value::Bool(true)),
    ];
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &outputs,
    };
    let expr = Expr::compile(source).map_err(|e| format!("compile: {e}"))?;
    expr.eval(row).map_err(|e| e.0)
}

#[track_caller]
fn gives(source: &str, value: impl Into<Value>) {
    assert_eq!(eval(source), Ok(value.into()), "{source}");
}

#[track_caller]
fn fails(source: &str, reason: &str) {
    assert_eq!(eval(source), Err(reason.to_owned()), "{source}");
}

#[test]
fn operators_and_numbers_work_as_documented() {
    gives("tax_due < 1000 ? 'yes' : 'no'", "yes");
    gives("row[\"Customer ID\"]", "C-1");
    gives("row['Customer ID'] + '/' + row.t", "C-1/abc");
    gives("tax_due / 2", 406.0);
    gives("7 / 2", 3.5);
    gives("tax_due * 2 + 1 - row.n", 1618.0);
    gives("-row.n % 2", -1.0);
    gives("row.n % 2 == 1", true);
    gives("1 + 1u + 0.5", 2.5);
    gives("row.Since < '2024-12-31'", true);
    gives("ok && !(tax_due >= 1000)", true);
    gives("row.tax_due == 812", true);
    gives("row.n in [1, 7]", true);
    gives("zip in ['1', '2']", false);
    gives(
        "{'C-1': 'gold', 'C-2': 'silver'}[row['Customer ID']]",
        "gold",
    );
    gives("[1, 2, 3][1]", 2.0);
    gives("['a', 'b'].exists(w, row.t.contains(w))", true);
    gives("[1, 2].all(x, x < row.n)", true);
    gives("[1, 2].exists(n, n == 2)", true);
}

/// Every operator on x and the number 5, for every kind of value that x can have.
#[test]
fn missing_is_never_a_value() {
    let absent = "`x` is empty";
    let text = "`x` is the text \"abc\", not a number";
    let digits = "`x` is the text \"5\", not a number";
    let boolean = "`x` is true, not a number";
    let table: [(&str, Option<Value>, [&str; 8]); 5] = [
        // x:             <       >=      ==      !=      +      -      *      /
        (
            "number",
            Some(Value::Number(4.0)),
            ["true", "false", "false", "true", "9", "-1", "20", "0.8"],
        ),
        ("text", Some(Value::from("abc")), [text; 8]),
        ("digits", Some(Value::from("5")), [digits; 8]),
        ("boolean", Some(Value::Bool(true)), [boolean; 8]),
        ("absent", None, [absent; 8]),
    ];
    let operators = ["<", ">=", "==", "!=", "+", "-", "*", "/"];
    let columns = Columns::new(["x"]);
    for (what, value, expected) in table {
        for (operator, expected) in operators.iter().zip(expected) {
            // As an output by its bare name, as an output through `row`, as an input column.
            for as_output in [true, false] {
                let outputs: Outputs = match &value {
                    Some(v) if as_output => vec![("x".into(), v.clone())],
                    _ => Vec::new(),
                };
                let record = Record {
                    row: 2,
                    values: vec![value.clone().filter(|_| !as_output)],
                };
                let row = Row {
                    columns: &columns,
                    record: &record,
                    outputs: &outputs,
                };
                let names: &[&str] = if as_output {
                    &["x", "row.x"]
                } else {
                    &["row['x']"]
                };
                for name in names {
                    let source = format!("{name} {operator} 5");
                    let result = Expr::compile(&source).unwrap().eval(row);
                    let shown = match result {
                        Ok(value) => value.to_text(),
                        Err(error) => error.0,
                    };
                    assert_eq!(shown, expected, "{what}: {source}");
                }
            }
        }
    }
}

#[test]
fn a_missing_value_never_decides_a_result() {
    for source in [
        "owner",
        "owner == ''",
        "owner != 'x'",
        "owner == owner",
        "!(owner == 'x')",
        "owner in ['x']",
        "'x' in [owner]",
        "owner ? 1 : 2",
        "owner == 'x' ? 'a' : 'b'",
        "ok && owner",
        "owner == 'x' || false",
        "size(owner)",
        "string(owner)",
        "owner.contains('x')",
        "{'a': owner}",
        "['x'].exists(v, v == owner)",
        "-owner < 0",
        "math.round(owner)",
    ] {
        fails(source, "`owner` is empty");
    }
    fails("row.Note + 'x'", "`Note` is empty");
    // The other side decides: the result is the same for every value of `owner`.
    gives("ok || owner == 'x'", true);
    gives("owner == 'x' && !ok", false);
    gives("has(owner)", false);
    gives("has(owner) ? owner : 'nobody'", "nobody");
    gives("has(row['Note']) || has(row.Note)", false);
    gives(
        "has(row[\"Customer ID\"]) && has(tax_due) && has(row.tax_due)",
        true,
    );
}

#[test]
fn reasons_name_the_column_and_its_value() {
    fails("zip < 1000", "`zip` is the text \"00501\", not a number");
    fails("1000 > zip", "`zip` is the text \"00501\", not a number");
    fails(
        "zip == tax_due",
        "`zip` is the text \"00501\" and `tax_due` is the number 812: `==` needs values of the same type",
    );
    fails("tax_due == '812'", "`tax_due` is the number 812, not text");
    fails("zip + 1", "`zip` is the text \"00501\", not a number");
    fails(
        "'a' + 1",
        "the left side of `+` is the text \"a\", the right side is the number 1: both must have the same type",
    );
    fails(
        "tax_due ? 1 : 2",
        "`tax_due` is the number 812, not true or false",
    );
    fails(
        "ok && tax_due",
        "`tax_due` is the number 812, not true or false",
    );
    fails("!tax_due", "`tax_due` is the number 812, not true or false");
    fails(
        "tax_due in ['1']",
        "`tax_due` is the number 812, but the list has values of another type",
    );
    fails("tax_due in zip", "`zip` is the text \"00501\", not a list");
    fails("tax_due / (row.n - 7)", "division by zero");
    fails(
        "tax_due.matches('8')",
        "`matches` does not accept `tax_due`, which is the number 812",
    );
    fails("row.n / (7 - 7)", "division by zero");
    fails("1 / double('0')", "division by zero");
    fails("1 % 0", "division by zero");
    fails("double(row.t)", "`t`: the text \"abc\" is not a number");
    fails(
        "tax_due.contains('8')",
        "`contains` does not accept `tax_due`, which is the number 812 and the text \"8\"",
    );
    fails("{'a': 1}[zip]", "`zip`: the map has no entry \"00501\"");
    fails("[1, 2]", "the result is a list, which a cell cannot hold");
    fails("1e308 * 10", "the result is too large for a number");
    fails(
        "[1].exists(v, row.t < v)",
        "values of different types are combined, such as text and a number",
    );
}

#[test]
fn every_function_can_be_called() {
    for (source, value) in [
        ("string(812)", Value::from("812")),
        ("string(0.5) + string(ok) + string('x')", "0.5truex".into()),
        ("double('1.50') * 2", 3.0.into()),
        ("double(row.n)", 7.0.into()),
        ("int('7.9') + int(-7.9)", 0.0.into()),
        ("bool('true')", true.into()),
        ("size(row.t) * 2", 6.0.into()),
        ("row.t.size() / 2", 1.5.into()),
        ("size([1, 2])", 2.0.into()),
        ("math.abs(-1.5)", 1.5.into()),
        ("math.ceil(1.2)", 2.0.into()),
        ("math.floor(tax_due / 100) * 100", 800.0.into()),
        ("math.round(2.5)", 3.0.into()),
        ("math.sign(-2)", (-1.0).into()),
        ("math.sqrt(9)", 3.0.into()),
        ("math.trunc(-1.5)", (-1.0).into()),
        ("'abc'.charAt(1)", "b".into()),
        ("'abc'.contains('b')", true.into()),
        ("'abc'.endsWith('c')", true.into()),
        ("'abc'.startsWith('b')", false.into()),
        ("'abcb'.indexOf('b') + 'abcb'.indexOf('b', 2)", 4.0.into()),
        ("'abcb'.lastIndexOf('b')", 3.0.into()),
        ("'abcb'.lastIndexOf('b', 2)", 1.0.into()),
        ("['a', 'b'].join('-') + ['a'].join()", "a-ba".into()),
        ("'ÄB'.lower() + 'äb'.upper()", "äbÄB".into()),
        ("'Ab'.lowerAscii() + 'Ab'.upperAscii()", "abAB".into()),
        (
            "'aaa'.replace('a', 'b') + 'aaa'.replace('a', 'b', 1)",
            "bbbbaa".into(),
        ),
        ("'abc'.reverse()", "cba".into()),
        (
            "'a-b-c'.split('-')[1] + 'a-b-c'.split('-', 2)[1]",
            "bb-c".into(),
        ),
        (
            "'abc'.substring(1) + 'abc'.substring(0, size('ab'))",
            "bcab".into(),
        ),
        ("' a '.trim()", "a".into()),
        (
            "zip.matches('^[0-9]{5}$') && !matches(row.t, '[0-9]')",
            true.into(),
        ),
    ] {
        assert_eq!(eval(source), Ok(value), "{source}");
    }
    // The list above is complete.
    let tests = include_str!("tests.rs");
    for f in functions::FUNCTIONS {
        let call = match f.member {
            true => format!(".{}(", f.name),
            false => format!("{}(", f.name),
        };
        assert!(tests.contains(&call), "{}", f.name);
    }
}

#[test]
fn positions_and_counts_are_whole_numbers() {
    let calls = [
        "'abc'.charAt(#)",
        "'abc'.indexOf('a', #)",
        "'abc'.lastIndexOf('a', #)",
        "'abc'.replace('a', 'b', #)",
        "'abc'.split('b', #)[0]",
        "'abc'.substring(#)",
        "'abc'.substring(0, #)",
        "'abc'.substring(#, 3)",
    ];
    let rule = "a position or count must be a whole number, not";
    let convert = "; to convert text, write double(..)";
    for call in calls {
        let with = |argument: &str| eval(&call.replace('#', argument));
        for (argument, reason) in [
            ("zip", format!("`zip`: {rule} the text \"00501\"{convert}")),
            ("row.t", format!("`t`: {rule} the text \"abc\"{convert}")),
            ("'1'", format!("{rule} the text \"1\"{convert}")),
            ("string(1)", format!("{rule} the text \"1\"{convert}")),
            ("row.n / 2", format!("{rule} the number 3.5")),
            ("1.5", format!("{rule} the number 1.5")),
            ("row.n * 1e300", format!("{rule} the number 7e300")),
            ("ok", format!("`ok`: {rule} true")),
            ("[1]", format!("{rule} a list")),
            ("owner", "`owner` is empty".to_owned()),
        ] {
            let failed = with(argument).unwrap_err();
            assert_eq!(failed, reason, "{call} with {argument}");
        }
        let expected = with("1");
        assert!(expected.is_ok(), "{call}: {expected:?}");
        for argument in ["1.0", "row.n - 6", "double('1')", "size('x')", "int(1.9)"] {
            assert_eq!(with(argument), expected, "{call} with {argument}");
        }
        assert_eq!(with("0"), with("0 * -1"), "{call}");
    }
}

#[test]
fn invalid_expressions_are_refused_when_compiled() {
    for (source, at, message, help) in [
        ("row == 1", "row", "is the whole record", "row[\"Column\"]"),
        ("row[x] == 1", "[", "must be a literal", "row[\"Column\"]"),
        ("x == null", "null", "`null` is not supported", "has("),
        ("'a' in row", "in", "`in row` is not supported", "has("),
        ("siz(x)", "(", "unknown function `siz`", "`size`"),
        ("x.trimm()", "(", "unknown method `trimm`", "`trim`"),
        ("x.contains()", "(", "takes one argument, not 0", ""),
        ("has(1)", "(", "takes one column", "has(row"),
        ("x.matches(y)", "y", "must be a literal", "matches("),
        ("x.matches('(')", "'('", "invalid regular expression", ""),
        ("{1: 2}[x]", "1", "keys of a map must be text", "string(x)"),
        ("x <", "", "invalid", ""),
        ("ä < < 1", "ä", "unexpected `ä`", ""),
        ("a and b", "a", "unexpected `and`", "&&"),
        ("  ", "  ", "is empty", ""),
    ] {
        let error = Expr::compile(source).unwrap_err();
        assert!(error.message.contains(message), "{source}: {error}");
        assert_eq!(
            &source[error.at.clone()].get(..at.len()).unwrap_or(at),
            &at,
            "{source}"
        );
        let given = error.help.unwrap_or_default();
        assert!(given.contains(help), "{source}: {given}");
    }
}

#[test]
fn references_have_their_positions() {
    let source = "'é' + row[ \"A b\" ] + x + row.C == '' || has(row['D']) || [1].exists(v, v == w)";
    let expr = Expr::compile(source).unwrap();
    let found: Vec<_> = expr
        .references()
        .iter()
        .map(|r| (&*r.name, r.from, &source[r.at.clone()]))
        .collect();
    assert_eq!(
        found,
        [
            ("A b", Origin::Row, "row[ \"A b\" ]"),
            ("x", Origin::Outputs, "x"),
            ("C", Origin::Row, "row.C"),
            ("D", Origin::Row, "row['D']"),
            ("w", Origin::Outputs, "w"),
        ]
    );
}

/// The target is about a microsecond; the bound leaves room for a busy machine and a build
/// without optimization, and still catches a regular expression that is compiled for each record.
#[test]
fn evaluation_is_cheap() {
    let columns = Columns::new(["ZIP", "Amount"]);
    let record = Record {
        row: 2,
        values: vec![Some(Value::from("00501")), Some(Value::Number(3.0))],
    };
    let outputs: Outputs = vec![("tax_due".into(), Value::Number(812.0))];
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &outputs,
    };
    let expr =
        Expr::compile("tax_due < 1000 && row.ZIP.matches('^[0-9]+$') ? 'yes' : 'no'").unwrap();
    let start = std::time::Instant::now();
    for _ in 0..20_000 {
        assert_eq!(expr.eval(row), Ok(Value::from("yes")));
    }
    let each = start.elapsed() / 20_000;
    assert!(each < std::time::Duration::from_micros(50), "{each:?}");
}

/// Run by hand: `cargo test --release -p rowmill-pipeline -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement"]
fn cost_of_an_evaluation() {
    let columns = Columns::new(["ZIP", "Amount"]);
    let record = Record {
        row: 2,
        values: vec![Some(Value::from("00501")), Some(Value::Number(3.0))],
    };
    let outputs: Outputs = vec![("tax_due".into(), Value::Number(812.0))];
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &outputs,
    };
    // Unoptimized builds are about ten times slower.
    let bound = std::time::Duration::from_micros(if cfg!(debug_assertions) { 100 } else { 5 });
    for source in [
        "tax_due < 1000 ? 'yes' : 'no'",
        "row.Amount * 2 + 1",
        "row.ZIP == '00501'",
        "row.ZIP.matches('^[0-9]+$')",
        "row.ZIP in ['1', '2', '3']",
        "owner == 'x'",
        "row.ZIP < 5",
    ] {
        let expr = Expr::compile(source).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..200_000 {
            let _ = std::hint::black_box(expr.eval(row));
        }
        let each = start.elapsed() / 200_000;
        println!("{source}: {each:?}");
        assert!(each < bound, "{source}: {each:?}");
    }
    let text = crate::Template::compile("http://a/{{ row.ZIP | urlencode }}").unwrap();
    let start = std::time::Instant::now();
    for _ in 0..200_000 {
        let _ = std::hint::black_box(text.render(row));
    }
    let each = start.elapsed() / 200_000;
    println!("{}: {each:?}", text.source());
    assert!(each < bound, "{each:?}");
}

#[test]
fn too_deep_nesting_is_refused() {
    let chain = |terms: usize| vec!["1"; terms].join("+");
    gives(&chain(199), 199.0);
    fails(&format!("{} + owner", chain(190)), "`owner` is empty");
    for source in [
        chain(1000),
        chain(super::rewrite::LENGTH_MAX / 2),
        chain(100_000),
        "(".repeat(1000) + "1" + &")".repeat(1000),
        "[".repeat(3000) + &"]".repeat(3000),
        "true ? ".repeat(1000) + "1" + &" : 2".repeat(1000),
    ] {
        assert!(Expr::compile(&source).is_err(), "{}", &source[..40]);
    }
}

proptest! {
    #[test]
    fn compiling_never_panics(source in "\\PC{0,40}") {
        let _ = Expr::compile(&source);
    }

    #[test]
    fn evaluating_never_panics(
        source in "(row\\.n|row\\['Note'\\]|zip|owner|tax_due|'a'|[0-9]|true|\\[1, 'a'\\]|has\\(zip\\))( (\\+|-|\\*|/|%|==|!=|<|>=|&&|\\|\\||in|\\?) (row\\.n|zip|owner|tax_due|'é'|0|!ok|\\[owner\\]|zip\\.size\\(\\)|1 : 2)){0,4}"
    ) {
        if let Err(reason) = eval(&source) {
            prop_assert!(!reason.is_empty(), "{}", source);
        }
    }
}

#[test]
fn a_secret_truncated_in_a_reason_is_still_redacted() {
    let held = format!("{}s3cret-value", "x".repeat(34));
    let reason = eval(&format!("'{held}' + 1")).unwrap_err();
    assert!(reason.contains("xs3cret...\""), "{reason}");
    let secrets: rowmill_domain::secret::Secrets = [("KEY", "s3cret-value")].into_iter().collect();
    let redacted = secrets.redact(&reason);
    assert!(redacted.contains("x[secret KEY]...\""), "{redacted}");
}

/// The text functions with bounds do the same as those of the crate.
#[test]
fn bounded_functions_equal_those_of_cel() {
    let texts = ["", "a", "aa", "abcabc", "äöü", "a😀b😀", "xyz"];
    let wanted = ["", "a", "ab", "😀", "bc", "aaa", "ü"];
    let counts = [-2, -1, 0, 1, 2, 3, 9];
    let mut env = cel::Env::default()
        .with_optional_support(false)
        .with_stdlib();
    env.add_extension(cel::extensions::strings).unwrap();
    let context = cel::Context::with_env(Arc::new(env));
    let mut compared = 0;
    let mut compare = |call: &str, t: &str, w: &str| {
        let source = format!("'{t}'.{call}").replace("W", &format!("'{w}'"));
        let parser = cel::Env::default();
        let (tree, _) = parser.parser().parse_with_source_info(&source).unwrap();
        let theirs = context.resolve(&tree);
        // Lists are joined, because a cell cannot hold them.
        let ours = eval(&source);
        match theirs {
            Ok(cel::Value::Int(n)) => assert_eq!(ours, Ok(Value::Number(n as f64)), "{source}"),
            Ok(cel::Value::String(s)) => {
                assert_eq!(ours, Ok(Value::Text(s.to_string())), "{source}");
            }
            Ok(other) => panic!("{source}: {other:?}"),
            Err(_) => assert!(ours.is_err(), "{source}: {ours:?}"),
        }
        compared += 1;
    };
    for t in texts {
        for w in wanted {
            for call in [
                "indexOf(W)",
                "lastIndexOf(W)",
                "replace(W, '-+')",
                "split(W).join('|')",
            ] {
                compare(call, t, w);
            }
            for n in counts {
                compare(&format!("indexOf(W, {n})"), t, w);
                compare(&format!("lastIndexOf(W, {n})"), t, w);
                compare(&format!("replace(W, '-+', {n})"), t, w);
                compare(&format!("split(W, {n}).join('|')"), t, w);
            }
        }
    }
    assert_eq!(compared, 7 * 7 * (4 + 4 * 7));
}

#[test]
fn evaluations_are_bounded() {
    let columns = Columns::new(["T", "W"]);
    let limited = |source: &str, t: String, w: String| {
        let record = Record {
            row: 2,
            values: vec![Some(Value::Text(t)), Some(Value::Text(w))],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        let start = std::time::Instant::now();
        let result = Expr::compile(source).unwrap().eval(row).map_err(|e| e.0);
        let took = start.elapsed();
        assert!(
            took < std::time::Duration::from_secs(30),
            "{source}: {took:?}"
        );
        result
    };
    let cell = || "a".repeat(32_767);
    let large = || "a".repeat(1 << 20);
    let steps = "takes more than 1000000 steps";
    for (source, t, w, reason) in [
        (
            "row.T.split('').all(x, row.T.split('').all(y, x == y))",
            cell(),
            cell(),
            steps,
        ),
        (
            "row.T.split('').exists(x, row.W.split('').exists(y, x != y)) ? 'a' : 'b'",
            cell(),
            cell(),
            steps,
        ),
        ("row.T.split('').size() > 0", large(), large(), steps),
        (
            "row.T.replace('a', row.W)",
            cell(),
            cell(),
            "longer than 10 MiB",
        ),
        (
            "row.T.replace('', row.W)",
            large(),
            large(),
            "longer than 10 MiB",
        ),
        (
            "row.T.split('').join(row.W)",
            cell(),
            cell(),
            "longer than 10 MiB",
        ),
        (
            "[row.T, row.T, row.T, row.T, row.T, row.T].join('') + row.T + row.T + row.T + row.T",
            large(),
            "".to_owned(),
            "",
        ),
        (
            "[row.T, row.T, row.T, row.T, row.T, row.T].join('') + row.T + row.T + row.T + row.T + '!'",
            large(),
            "".to_owned(),
            "longer than 10 MiB",
        ),
    ] {
        match limited(source, t, w) {
            Ok(Value::Text(text)) if reason.is_empty() => assert_eq!(text.len(), TEXT_MAX),
            Err(found) if !reason.is_empty() => {
                assert!(found.contains(reason), "{source}: {found}");
            }
            other => panic!("{source}: {:?}", other.map(|_| "a value")),
        }
    }
    // A needle that nearly matches everywhere takes linear time.
    let needle = format!("{}b", "a".repeat(1 << 19));
    let found = limited(
        "row.T.indexOf(row.W) + row.T.lastIndexOf(row.W)",
        large(),
        needle,
    );
    assert_eq!(found, Ok(Value::Number(-2.0)));
    // A full cell can be tested character by character.
    let found = limited("row.T.split('').all(x, x == 'a')", cell(), cell());
    assert_eq!(found, Ok(Value::Bool(true)));
    // Steps spent on one side do not hide another reason.
    let found = limited("row.T.split('').size() + row.W", cell(), cell());
    assert!(found.unwrap_err().contains("not a number"));
}
