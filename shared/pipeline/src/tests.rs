use std::time::Duration;

use proptest::prelude::*;
use rowmill_domain::Kind;

use super::*;

/// A pipeline with every section.
const EXAMPLE: &str = r#"
description = "Tax due per customer"

[input]
sheet = "Customers"                  # name or 1-based index; default: first visible
required = ["Customer ID"]
key = ["Customer ID"]                # later duplicates are rejected
types = { ZIP = "text", Since = "date" }

[[step]]
kind = "http"
url = "https://tax.example.gov/parcels/{{ row['Customer ID'] | urlencode }}"
timeout = "20s"
attempts = 4
rate = "50/s"
allow_hosts = []                     # private addresses only by name
[step.outputs]
tax_due = { json = "$.due", type = "number" }
owner = { css = "td.owner", optional = true }

[[step]]
kind = "command"
program = ["python3", "score.py"]    # stdin {"row":17,"values":{..}}
outputs = ["score"]

[[step]]
kind = "sentiment"                   # adds sa_class, sa_score
column = "Notes"

[[check]]
rule = "tax_due >= 0"
on_failure = "fail"                  # or "warn"

[[column]]
name = "credit_worthy"
value = "tax_due < 1000 ? 'yes' : 'no'"    # CEL; row["Customer ID"], and outputs so far by name

[report]
chart = "credit_worthy"

[notify]
to = ["credit@example.com"]

[batch]
seconds_per_record = 2.0
concurrency = 16                     # records at once in a child
max_children = 2000
within = "2h"
records_per_child = 500
vcpu = 0.25
memory = "512 MiB"
"#;

/// Returns every error of a file: `line:column`, message, help.
fn errors(toml: &str) -> Vec<(String, String, String)> {
    match Pipeline::parse("p.toml", toml) {
        Ok(_) => Vec::new(),
        Err(first) => {
            let others = first.others.clone();
            std::iter::once(*first).chain(others).map(shown).collect()
        }
    }
}

fn shown(error: PipelineError) -> (String, String, String) {
    let (line, column) = error.position();
    (
        format!("{line}:{column}"),
        error.message,
        error.help.unwrap_or_default(),
    )
}

#[track_caller]
fn error(toml: &str, place: &str, message: &str, help: &str) {
    let all = errors(toml);
    assert_eq!(all.len(), 1, "{toml}: {all:?}");
    assert_eq!(all[0].0, place, "{toml}: {all:?}");
    assert!(all[0].1.contains(message), "{toml}: {all:?}");
    assert!(all[0].2.contains(help), "{toml}: {all:?}");
}

#[test]
fn a_pipeline_with_every_section_is_parsed() {
    let pipeline = Pipeline::parse("tax.toml", EXAMPLE).unwrap();
    assert_eq!(
        pipeline.input.types,
        [
            ("ZIP".to_owned(), Kind::Text),
            ("Since".to_owned(), Kind::Date)
        ]
    );
    let StepKind::Http(http) = &pipeline.steps[0].kind else {
        panic!("{:?}", pipeline.steps[0]);
    };
    assert_eq!(
        (http.timeout, http.attempts, http.rate, http.method),
        (Duration::from_secs(20), 4, Some(50.0), HttpMethod::Get)
    );
    assert_eq!(http.outputs[0].from, Extract::Json("$.due".to_owned()));
    assert_eq!(http.outputs[0].kind, Some(Kind::Number));
    assert!(http.outputs[1].optional);
    assert_eq!(
        pipeline.added_columns(),
        [
            "tax_due",
            "owner",
            "score",
            "sa_class",
            "sa_score",
            "credit_worthy"
        ]
    );
    assert_eq!(pipeline.batch.resources.memory_mib, 512);
    assert_eq!(pipeline.batch.seconds_per_record, 2.0);
    assert_eq!(pipeline.checks[0].on_failure, OnFailure::Fail);
    let header = ["Customer ID", "ZIP", "Since", "Notes"].map(str::to_owned);
    assert!(pipeline.check_columns(&header).is_empty());
}

#[test]
fn a_prefix_distinguishes_two_classifiers() {
    let one = "[[step]]\nkind = \"classify\"\ncolumn = \"T\"\nmodel = \"m\"\n";
    let two = format!("{one}explain = 3\nprefix = \"topic_\"\n");
    let pipeline = Pipeline::parse("p.toml", &format!("{one}{two}")).unwrap();
    assert_eq!(pipeline.steps[0].outputs(), ["label", "probability"]);
    assert_eq!(
        pipeline.steps[1].outputs(),
        ["topic_label", "topic_probability", "topic_words"]
    );
    let StepKind::Classify(classify) = &pipeline.steps[1].kind else {
        panic!("{:?}", pipeline.steps[1]);
    };
    assert_eq!((&*classify.column, &*classify.model), ("T", "m"));
    assert_eq!(classify.words.as_ref().map(|w| w.most), Some(3));
    assert_eq!(
        pipeline.check_columns(&[])[0].message,
        "the workbook has no column `T`"
    );

    let same = errors(&format!("{one}{one}"));
    assert_eq!(same.len(), 2, "{same:?}");
    assert!(
        same[0].1.contains("already adds a column `label`"),
        "{same:?}"
    );
    error(
        &format!("{one}explain = 0"),
        "5:11",
        "between 1 and 100",
        "",
    );
    error(
        &one.replace("model = \"m\"\n", ""),
        "1:1",
        "`model` is missing",
        "add a line",
    );
}

#[test]
fn an_empty_file_is_a_pipeline_with_all_defaults() {
    let pipeline = Pipeline::parse("p.toml", "# nothing\n").unwrap();
    assert!(pipeline.steps.is_empty() && pipeline.added_columns().is_empty());
    assert_eq!(pipeline.batch, BatchSettings::default());
    assert_eq!(pipeline.input.sheet, None);
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let parse = |toml: String| {
        format!("{:?}", {
            let mut pipeline = Pipeline::parse("p.toml", &toml).expect(&toml);
            pipeline.mentions = Default::default();
            pipeline
        })
    };
    let wrapped = [
        (&keys::INPUT, "[input]\n", ""),
        (
            keys::STEPS[0],
            "[[step]]\nkind = \"http\"\nurl = \"http://a\"\n",
            "[step.outputs]\na = { css = \"a\" }\n",
        ),
        (
            &keys::EXTRACT,
            "[[step]]\nkind = \"http\"\nurl = \"http://a\"\n[step.outputs.a]\ncss = \"a\"\n",
            "",
        ),
        (
            keys::STEPS[1],
            "[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"b\"]\n",
            "",
        ),
        (&keys::CHECK, "[[check]]\nrule = \"true\"\n", ""),
        (&keys::BATCH, "[batch]\n", ""),
    ];
    let mut tried = 0;
    for (section, before, after) in wrapped {
        let default = parse(format!("{before}{after}"));
        for key in section.keys {
            let Some(value) = key.default else { continue };
            if value.starts_with(|c: char| c.is_ascii_digit() || "\"[{".contains(c))
                || value == "false"
            {
                let given = parse(format!("{before}{} = {value}\n{after}", key.name));
                assert_eq!(given, default, "{} {}", section.title, key.name);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 30);
}

#[test]
fn a_column_can_have_its_own_locale() {
    let toml = "[input]\ntypes = { a = \"number\", b = \"date\" }\nlocale = \"de\"\nlocales = { b = \"en-US\" }\n";
    let input = Pipeline::parse("p.toml", toml).unwrap().input;
    let name = |column| input.locale_of(column).map(|locale| locale.name);
    assert_eq!((name("a"), name("b")), (Some("de"), Some("en-US")));
    let none = Pipeline::parse("p.toml", "").unwrap().input;
    assert_eq!(none.locale_of("a"), None);
}

#[test]
fn limits_and_hidden_rows_are_parsed() {
    let toml =
        "[input]\nhidden_rows = \"skip\"\nlimits = { cells = 17_179_869_185, ratio = 0x10 }\n";
    let input = Pipeline::parse("p.toml", toml).unwrap().input;
    assert!(input.skip_hidden_rows);
    assert_eq!(input.limits, [("ratio", 16), ("cells", 17_179_869_185)]);
}

#[test]
fn a_misspelled_key_in_the_third_step_has_its_position() {
    let toml = EXAMPLE.replace("column = \"Notes\"", "colum = \"Notes\"");
    let all = errors(&toml);
    let places: Vec<_> = all.iter().map(|e| (&*e.0, &*e.1)).collect();
    assert_eq!(
        places,
        [
            ("26:1", "`column` is missing"),
            ("28:1", "unknown key `colum`")
        ]
    );
    assert_eq!(all[1].2, "did you mean `column`?");

    let toml = EXAMPLE.replace("[[check]]", "[[step]]\nkind = \"http\"\nurl = \"http://a/\"\ntimout = \"2s\"\noutputs = { x = { json = \"$\" } }\n[[check]]");
    error(
        &toml,
        "33:1",
        "unknown key `timout`",
        "did you mean `timeout`?",
    );
}

#[test]
fn every_error_has_its_position() {
    let http = "[[step]]\nkind = \"http\"\n";
    let out = "outputs = { a = { css = \"b\" } }\n";
    for (toml, place, message, help) in [
        ("desciption = \"x\"".to_owned(), "1:1", "unknown key `desciption`", "`description`"),
        ("description = 5".to_owned(), "1:15", "`description` must be text, not a whole number", ""),
        ("description = \"x".to_owned(), "1:17", "", ""),
        ("a = 1\na = 2".to_owned(), "2:1", "duplicate", ""),
        ("input = 5".to_owned(), "1:9", "`input` must be a table", ""),
        ("[input]\nsheet = 0".to_owned(), "2:9", "must be between 1", ""),
        ("[input]\nkey = [\"a\", \"a\"]".to_owned(), "2:13", "is listed twice", ""),
        ("[input]\nhidden_rows = \"hide\"".to_owned(), "2:15", "invalid value \"hide\"", "`keep`"),
        ("[input]\nlocale = \"de\"".to_owned(), "2:10", "`locale` has no effect", "`types`"),
        ("[input]\ntypes = { a = \"number\" }\nlocale = \"en\"".to_owned(), "3:10", "invalid value \"en\" for `locale`", "write `en-AU` or `en-GB`"),
        ("[input]\ntypes = { a = \"date\" }\nlocale = \"de-AT\"".to_owned(), "3:10", "invalid value \"de-AT\" for `locale`", "write `de` or `de-CH`"),
        ("[input]\ntypes = { a = \"text\" }\nlocales = { a = \"de\" }".to_owned(), "3:17", "the locale of `a` has no effect", "`types`"),
        ("[input]\nlimits = { cell = 5 }".to_owned(), "2:12", "unknown key `cell`", "`cells`"),
        ("[input]\nlimits = { cells = 0 }".to_owned(), "2:20", "above 0", ""),
        ("[input]\ntypes = { a = \"txt\" }".to_owned(), "2:15", "invalid value \"txt\"", "`text`"),
        ("[[step]]\nkind = \"sentimnt\"".to_owned(), "2:8", "unknown step kind `sentimnt`", "did you mean `sentiment`?"),
        ("[[step]]\nkind = \"language\"\ncolumn = \"a\"\nmin_confidence = 2".to_owned(), "4:18", "at most 1", ""),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"".to_owned(), "1:1", "`service` is missing", ""),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"\nservice = \"amazn\"".to_owned(), "4:11", "unknown service \"amazn\"", "\"amazon\""),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"\nservice = { url = \"localhost:5000\" }".to_owned(), "4:19", "must start with http:// or https://", ""),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"\nservice = { url = \"http://a\", apikey = \"x\" }".to_owned(), "4:31", "unknown key `apikey`", "`api_key`"),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"\nservice = { url = \"http://a\", api_key = \"{{ row.x }}\" }".to_owned(), "4:41", "cannot depend on the record", ""),
        ("[[step]]\nkind = \"translate\"\ncolumn = \"a\"\nto = \"english\"\nservice = \"amazon\"".to_owned(), "4:6", "is not a language code", "pt-BR"),
        ("\n[[step]]\nurl = \"http://a\"".to_owned(), "2:1", "`kind` is missing", ""),
        (format!("{http}url = \"ftp://x\"\n{out}"), "3:7", "must start with http:// or https://", ""),
        (format!("{http}url = \"http://a\"\ntimeout = \"20\"\n{out}"), "4:11", "invalid value \"20\" for `timeout`", "\"20s\""),
        (format!("{http}url = \"http://a\"\nrate = \"50\"\n{out}"), "4:8", "invalid value \"50\" for `rate`", "\"50/s\""),
        (format!("{http}url = \"http://a\"\nrate = \"10001/s\"\n{out}"), "4:8", "at most 10000/s", "remove it"),
        (format!("{http}url = \"http://a\"\nrate = \"0.001/h\"\n{out}"), "4:8", "at least one request per day", ""),
        (format!("{http}url = \"http://a\"\nheaders = {{ content-length = \"5\" }}\n{out}"), "4:13", "`content-length` cannot be set", "from the body"),
        (format!("{http}url = \"http://a\"\nheaders = {{ \"Transfer-Encoding\" = \"chunked\" }}\n{out}"), "4:13", "cannot be set", "from the body"),
        (format!("{http}url = \"http://a\"\nheaders = {{ Host = \"b\" }}\n{out}"), "4:13", "`Host` cannot be set", "in `url`"),
        (format!("{http}url = \"http://a/{{{{ secret('KEY') }}}}\"\n{out}"), "3:20", "undeclared secret `KEY`", "secrets = [\"KEY\"]"),
        (format!("secrets = [\"KEYS\"]\n{http}url = \"http://a/{{{{ secret('KEY') }}}}\"\n{out}"), "4:20", "undeclared secret `KEY`", "`KEYS`"),
        (format!("{http}url = \"http://a/{{{{ secret(x) }}}}\"\n{out}"), "3:20", "takes the name of one secret", "in quotes"),
        ("secrets = [\"key\"]".to_owned(), "1:12", "is not a valid name for a secret", "capital"),
        ("[secrets]\nKEY = \"a value!\"".to_owned(), "2:7", "is not a valid location of a secret", "never the value"),
        (format!("{http}url = \"http://a\"\nproxy = \"socks5://a\"\n{out}"), "4:9", "`proxy` must start with", "http://proxy"),
        (format!("{http}url = \"http://a\"\nproxy = \"http://{{{{ row.A }}}}\"\n{out}"), "4:9", "cannot depend on the record", ""),
        (format!("{http}url = \"http://a\"\nca = \"corp.pem\"\n{out}"), "4:6", "not a certificate in PEM format", "triple quotes"),
        (format!("{http}url = \"http://a\"\npages = {{ max = 3 }}\n{out}"), "4:9", "exactly one of `next`, `cursor`, `page` and `offset`", "query"),
        (format!("{http}url = \"http://a\"\npages = {{ next = {{ json = \"$.n\", header = \"Link\" }} }}\n{out}"), "4:18", "exactly one of `json`, `css`, `regex` and `header`", "Link"),
        (format!("{http}url = \"http://a\"\npages = {{ offset = {{ query = \"o\" }} }}\n{out}"), "4:20", "`size` is missing", ""),
        (format!("{http}url = \"http://a\"\npages = {{ cursor = {{ query = \"c\" }} }}\n{out}"), "4:20", "exactly one of `json`, `css`, `regex` and `header`", ""),
        (format!("{http}url = \"http://a\"\nretry_on = [429, 429]\n{out}"), "4:18", "twice", ""),
        (format!("{http}url = \"http://a\"\nauth = {{ }}\n{out}"), "4:8", "exactly one of `oauth` and `digest`", "Basic"),
        (format!("{http}url = \"http://a\"\nauth = {{ digest = {{ user = \"u\" }} }}\n{out}"), "4:19", "`password` is missing", ""),
        (format!("{http}url = \"http://a\"\nauth = {{ digest = {{ user = \"{{{{ row.U }}}}\", password = \"p\" }} }}\n{out}"), "4:28", "cannot depend on the record", ""),
        (format!("{http}url = \"http://a\"\nauth = {{ oauth = {{ url = \"a\", client_id = \"i\", client_secret = \"s\" }} }}\n{out}"), "4:26", "must start with http", ""),
        (format!("{http}url = \"http://a\"\nretry_on = [42]\n{out}"), "4:13", "a status from 100 to 599", ""),
        (format!("{http}url = \"http://a\"\npages = {{ page = {{ from = 2 }} }}\n{out}"), "4:18", "`query` is missing", ""),
        (format!("{http}url = \"http://a\"\nmethod = \"HEAD\"\npages = {{ page = {{ query = \"p\" }} }}\noutputs = {{ a = {{ status = true }} }}"), "5:9", "a HEAD request has no pages", ""),
        (format!("{http}url = \"http://a\"\noutputs = {{ a = {{ json = \"$.a\", all = true, type = \"number\" }} }}"), "4:17", "`all` gives text, not number", ""),
        (format!("{http}url = \"http://a\"\noutputs = {{ a = {{ header = \"A\", all = true }} }}"), "4:39", "so `all` is not allowed", ""),
        (format!("{http}url = \"http://a\"\nattempts = 11\n{out}"), "4:12", "between 1 and 10", ""),
        (format!("{http}url = \"http://a\"\nmethod = \"PSOT\"\n{out}"), "4:10", "for `method`", "`POST`"),
        (format!("{http}url = \"http://a\"\nbody = \"x\"\n{out}"), "4:8", "a GET request has no body", "POST"),
        (format!("{http}url = \"http://a\"\nheaders = {{ \"a b\" = \"x\" }}\n{out}"), "4:13", "not a valid header name", ""),
        (format!("{http}url = \"http://a\"\nallow_hosts = [\"http://a\"]\n{out}"), "4:16", "is not a host", "without scheme"),
        (format!("{http}url = \"http://a\"\noutputs = {{}}"), "4:11", "at least one column", ""),
        (format!("{http}url = \"http://a\"\noutputs = {{ a = {{ type = \"text\" }} }}"), "4:17", "exactly one of `json`, `css`, `regex`, `header`, `status`", "td.name"),
        (format!("{http}url = \"http://a\"\noutputs = {{ a = {{ json = \"due\" }} }}"), "4:26", "is not a JSONPath", "$.due"),
        (format!("{http}url = \"http://a\"\noutputs = {{ a = {{ css = \"//a/@href\" }} }}"), "4:25", "is an XPath", "book > title for //book/title"),
        (format!("{http}url = \"http://a\"\noutputs = {{ status = {{ css = \"a\" }} }}"), "4:13", "every result already has", ""),
        (format!("{http}url = \"http://a/{{{{ x }}}}\"\n{out}"), "3:20", "no earlier step adds `x`", "row[\"x\"]"),
        (format!("{http}url = \"http://a/{{{{ row.x | urlencde }}}}\"\n{out}"), "3:28", "unknown filter `urlencde`", "`urlencode`"),
        ("[[step]]\nkind = \"command\"\nprogram = []\noutputs = [\"a\"]".to_owned(), "3:11", "`program` is empty", ""),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\", \" b\"]".to_owned(), "4:17", "is not a valid column name", ""),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nprocess = \"recrd\"".to_owned(), "5:11", "for `process`", "did you mean `record`?"),
        ("[parameters]\nlimit = \"5\"\n[[step]]\nkind = \"command\"\nprogram = [\"a\", \"Ref::limt\"]\noutputs = [\"a\"]".to_owned(), "5:17", "unknown parameter `limt`", "did you mean `limit`?"),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\", \"Ref::x\"]\noutputs = [\"a\"]".to_owned(), "3:17", "unknown parameter `x`", "add x = "),
        ("[parameters]\nx = {}\n[[step]]\nkind = \"command\"\nprogram = [\"Ref::x\"]\noutputs = [\"a\"]".to_owned(), "5:12", "an upload cannot choose the program", "x = \"..\""),
        ("[parameters]\nMax = {}".to_owned(), "2:1", "`Max` is not a valid name", "lower-case"),
        ("[parameters]\nx = { default = \"a\", type = \"number\" }".to_owned(), "2:17", "`default` cannot be `a`: it is not a number", ""),
        ("[parameters]\nx = { matches = \"(\" }".to_owned(), "2:17", "not a valid regular expression", ""),
        ("[parameters]\nx = { matches = \"a)|(b\" }".to_owned(), "2:17", "not a valid regular expression", ""),
        ("[parameters]\nx = { defalt = \"a\" }".to_owned(), "2:7", "unknown key `defalt`", "`default`"),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nfetch = { url = \"s3://b/k\" }".to_owned(), "5:9", "`sha256` is missing", ""),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nfetch = { url = \"s3://b\", sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }".to_owned(), "5:17", "not a valid program URL", "s3://bucket/key"),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nfetch = { url = \"https://a/b\", sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }".to_owned(), "5:17", "not a valid program URL", ""),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nfetch = { url = \"x.sh\", sha256 = \"0\" }".to_owned(), "5:34", "64 hexadecimal digits", "sha256sum"),
        ("[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"a\"]\nprocess_memory = \"256\"".to_owned(), "5:18", "for `process_memory`", "512 MiB"),
        ("[[check]]\nrule = \"tax_due >= \"".to_owned(), "2:19", "ends too early", ""),
        ("[[check]]\nrule = \"1\"".to_owned(), "2:8", "is always the number `1`, not true or false", "tax_due >= 0"),
        ("[[check]]\nrule = \"'yes'\"".to_owned(), "2:8", "not true or false", ""),
        ("[[check]]\nrule = \"1 < 'a'\"".to_owned(), "2:8", "the rule never has a value", ""),
        ("[[column]]\nname = \"a\"\nvalue = \"1 / 0\"".to_owned(), "3:9", "can never be computed", ""),
        ("[[column]]\nname = \"a\"\nvalue = \"[1]\"".to_owned(), "3:9", "can never be computed", ""),
        ("[[check]]\nrule = \"true\"\non_failure = \"wran\"".to_owned(), "3:14", "invalid value \"wran\"", "`warn`"),
        ("[[column]]\nname = \"a\"\nvalue = \"a + 1\"".to_owned(), "3:10", "no earlier step adds `a`", ""),
        ("[[column]]\nname = \"a\"\nvalue = \"1\"\n[[column]]\nname = \"a\"\nvalue = \"2\"".to_owned(), "5:8", "already adds a column `a`", ""),
        ("[[column]]\nname = \"first_total\"\nvalue = \"1\"\n[[column]]\nname = \"b\"\nvalue = \"frst_total\"".to_owned(), "6:10", "adds `frst_total`", "`first_total`"),
        ("[notify]\nto = [\"a@b\", \"nobody\"]".to_owned(), "2:14", "is not a mail address", ""),
        ("[batch]\nseconds_per_record = 0".to_owned(), "2:22", "above 0", ""),
        ("[[step]]\nkind = \"sentiment\"\ncolumn = \"t\"\nmemory = \"256 MiB\"".to_owned(), "4:10", "does not offer 256 MiB with 0.25 vCPUs", "512, 1024 or 2048 MiB"),
        ("[[step]]\nkind = \"sentiment\"\ncolumn = \"t\"\nvcpu = 2\n[batch]\nmemory = \"1 GiB\"".to_owned(), "4:8", "does not offer 1024 MiB with 2 vCPUs", "4096 to 16384"),
        ("[[step]]\nkind = \"sentiment\"\ncolumn = \"t\"\nstorage = \"201 GiB\"".to_owned(), "4:11", "does not offer 201 GiB", "20 to 200 GiB"),
        ("[batch]\nstorage = \"512 MiB\"".to_owned(), "2:11", "for `storage`", "100 GiB"),
        ("[batch]\ncapacity = \"ec2\"\nvcpu = 1\nstorage = \"50 GiB\"".to_owned(), "4:11", "for AWS Fargate", "remove `storage`"),
        ("[batch]\nmemory = \"512\"".to_owned(), "2:10", "for `memory`", "512 MiB"),
        ("[batch]\nvcpu = 3".to_owned(), "2:8", "does not offer 3 vCPUs", "0.25"),
        ("[batch]\nmemory = \"1536 MiB\"".to_owned(), "2:10", "does not offer 1536 MiB with 0.25 vCPUs", "512, 1024 or 2048 MiB"),
        ("[batch]\nvcpu = 32\nmemory = \"64 GiB\"".to_owned(), "3:10", "does not offer 65536 MiB with 32 vCPUs", "61440, 122880 or 249856"),
        ("[batch]\nvcpu = 48".to_owned(), "2:8", "does not offer 48 vCPUs", "capacity = \"ec2\""),
        ("[batch]\ncapacity = \"ec2\"\nvcpu = 1.5".to_owned(), "3:8", "EC2 does not offer 1.5 vCPUs", "whole number"),
        ("[batch]\ncapacity = \"ec2\"\nvcpu = 1\nmemory = \"2 MiB\"".to_owned(), "4:10", "not enough", "at least 4 MiB"),
        ("[batch]\ntable_writes = 3999".to_owned(), "2:16", "between 4000 and 40000", ""),
        ("[batch]\nvcpu = 1\nmemory = \"1 GiB\"".to_owned(), "3:10", "does not offer 1024 MiB with 1 vCPUs", "2048 to 8192"),
        ("[batch]\ntimeout = \"30s\"".to_owned(), "2:11", "at least 60 s", ""),
    ] {
        error(&toml, place, message, help);
    }
}

#[test]
fn the_requests_of_an_http_step_are_parsed() {
    let toml = r#"
[[step]]
kind = "http"
method = "PUT"
url = "https://a/"
query = { to = "{{ row['ID'] }}", "a b" = "1" }
form = { z = "{{ row['ID'] }}", y = "2" }
ok_when = "status == 404 || due >= 0 && row['ID'] != '' && has(row.due)"
[step.outputs]
due = { json = "$.due" }
link = { css = "a", attribute = "href" }
items = { css = "li", all = true }
first = { css = "li", all = false }
number = { regex = "No ([0-9]+)", type = "number" }
tag = { header = "ETag", optional = true }
code = { status = true }
"#;
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    assert!(pipeline.check_columns(&["ID".to_owned()]).is_empty());
    assert_eq!(pipeline.check_columns(&[]).len(), 3);
    let StepKind::Http(http) = &pipeline.steps[0].kind else {
        panic!("{:?}", pipeline.steps[0]);
    };
    let sources = |texts: &[(String, Template)]| {
        let all = texts.iter().map(|(n, t)| format!("{n}: {}", t.source()));
        all.collect::<Vec<_>>()
    };
    assert_eq!(http.method, HttpMethod::Put);
    assert_eq!(sources(&http.query), ["to: {{ row['ID'] }}", "a b: 1"]);
    assert_eq!(sources(&http.form), ["z: {{ row['ID'] }}", "y: 2"]);
    assert!(
        http.ok_when
            .as_ref()
            .unwrap()
            .source()
            .starts_with("status == 404")
    );
    let css = |text: &str| text.to_owned();
    assert_eq!(
        http.outputs
            .iter()
            .map(|o| o.from.clone())
            .collect::<Vec<_>>(),
        [
            Extract::Json(css("$.due")),
            Extract::CssAttribute {
                selector: css("a"),
                attribute: css("href"),
            },
            Extract::CssAll(css("li")),
            Extract::Css(css("li")),
            Extract::Regex(css("No ([0-9]+)")),
            Extract::Header(css("ETag")),
            Extract::Status,
        ]
    );
    assert_eq!(http.outputs[4].kind, Some(Kind::Number));
    assert!(http.outputs[5].optional);

    for method in HttpMethod::ALL {
        let toml = format!(
            "[[step]]\nkind = \"http\"\nurl = \"http://a\"\nmethod = \"{}\"\noutputs = {{ a = {{ status = true }} }}\n",
            method.name()
        );
        let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
        let StepKind::Http(http) = &pipeline.steps[0].kind else {
            panic!("{toml}");
        };
        assert_eq!(http.method, method);
    }
    let cached = toml.replace("method = \"PUT\"", "cache = true");
    let cached = cached.replace("form = { z = \"{{ row['ID'] }}\", y = \"2\" }", "");
    let pipeline = Pipeline::parse("p.toml", &cached).unwrap();
    assert!(matches!(&pipeline.steps[0].kind, StepKind::Http(http) if http.cache));
}

#[test]
fn secrets_are_parsed_from_a_list_and_from_a_table() {
    use crate::secrets::{Secret, SecretSource};
    let secret = |name: &str, from| Secret {
        name: name.to_owned(),
        from,
    };
    let parse = |toml| Pipeline::parse("p.toml", toml).unwrap().secrets;
    let manager = |name: &str| SecretSource::Manager(name.to_owned());
    assert_eq!(
        parse("secrets = [\"A\", \"B_2\"]"),
        [secret("A", manager("A")), secret("B_2", manager("B_2"))]
    );
    assert_eq!(
        parse("[secrets]\nA = \"tax/key\"\nB = \"ssm:/tax\""),
        [
            secret("A", manager("tax/key")),
            secret("B", SecretSource::Parameter("tax".to_owned()))
        ]
    );
}

#[test]
fn process_and_memory_of_a_command_are_parsed() {
    let toml = "[[step]]\nkind = \"command\"\nprogram = [\"a\"]\noutputs = [\"b\"]\n";
    let read = |more: &str| {
        let pipeline = Pipeline::parse("p.toml", &format!("{toml}{more}")).unwrap();
        match &pipeline.steps[0].kind {
            StepKind::Command(command) => (command.process, command.process_memory_mib),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(""), (ProcessPer::Child, None));
    assert_eq!(
        read("process = \"record\"\nprocess_memory = \"256 MiB\""),
        (ProcessPer::Record, Some(256))
    );
    assert_eq!(read("process_memory = \"1.5 GiB\"").1, Some(1536));
}

#[test]
fn every_error_in_a_request_has_its_position() {
    let post = "method = \"POST\"\n";
    let out = "outputs = { a = { css = \"b\" } }";
    let one = |from: &str| format!("outputs = {{ a = {{ {from} }} }}");
    // These start at line 4.
    for (toml, place, message, help) in [
        (
            format!("form = {{ x = \"1\" }}\n{out}"),
            "4:8",
            "a GET request has no body, so `form` is not allowed",
            "POST",
        ),
        (
            format!("body = \"x\"\nmethod = \"HEAD\"\n{}", one("status = true")),
            "4:8",
            "a HEAD request has no body",
            "POST",
        ),
        (
            format!("{post}form = {{ x = \"1\" }}\nbody = \"x\"\n{out}"),
            "5:8",
            "`body` or `form`, not both",
            "remove one",
        ),
        (
            format!("{post}form = {{}}\n{out}"),
            "5:8",
            "`form` must have at least one field",
            "",
        ),
        (
            format!("{post}form = {{ x = \"{{{{ y }}}}\" }}\n{out}"),
            "5:18",
            "no earlier step adds `y`",
            "",
        ),
        (
            format!("query = {{ x = \"{{{{ a }}}}\" }}\n{out}"),
            "4:19",
            "no earlier step adds `a`",
            "",
        ),
        (
            format!("{post}cache = true\n{out}"),
            "5:9",
            "a POST request may change data",
            "`cache`",
        ),
        (
            format!("cache = 1\n{out}"),
            "4:9",
            "`cache` must be true or false",
            "",
        ),
        (
            format!("method = \"PTU\"\nbody = \"x\"\n{out}"),
            "4:10",
            "invalid value \"PTU\"",
            "`PUT`",
        ),
        (
            format!("method = \"HEAD\"\n{out}"),
            "5:17",
            "HEAD request has no body to take a value from",
            "`header`",
        ),
        (
            format!("ok_when = \"statu == 200\"\n{out}"),
            "4:12",
            "neither this step nor an earlier one adds `statu`",
            "did you mean `status`?",
        ),
        (
            format!("ok_when = \"row.status == 200\"\n{out}"),
            "4:12",
            "`status` is the status of the response",
            "write `status`",
        ),
        (
            format!("ok_when = \"status == \"\n{out}"),
            "4:21",
            "ends too early",
            "",
        ),
        (
            format!("{out}\n[[check]]\nrule = \"status == 200\""),
            "6:9",
            "no earlier step adds `status`",
            "",
        ),
        (
            one("css = \"a\", json = \"$\""),
            "4:17",
            "exactly one of",
            "",
        ),
        (
            one("css = \"a\", all = true, attribute = \"href\""),
            "4:54",
            "not both",
            "",
        ),
        (
            one("json = \"$\", attribute = \"href\""),
            "4:43",
            "`attribute` can be used only with `css`, not with `json`",
            "",
        ),
        (
            one("status = true, all = true"),
            "4:40",
            "there is only one status, so `all` is not allowed",
            "",
        ),
        (
            one("css = \"a\", atribute = \"href\""),
            "4:30",
            "unknown key `atribute`",
            "did you mean `attribute`?",
        ),
        (one("status = false"), "4:28", "can only be `true`", ""),
        (
            one("status = 200"),
            "4:28",
            "`status` must be true or false",
            "",
        ),
        (
            one("header = \"a b\""),
            "4:28",
            "is not a valid header name",
            "",
        ),
        (
            one("regex = \"(\""),
            "4:27",
            "invalid regular expression",
            "",
        ),
    ] {
        let toml = format!("[[step]]\nkind = \"http\"\nurl = \"http://a\"\n{toml}\n");
        error(&toml, place, message, help);
    }
}

#[test]
fn positions_in_strings_account_for_escapes_and_lines() {
    for (toml, place) in [
        ("[[column]]\nname = \"a\"\nvalue = '''\n1 +\n  b'''", "5:3"),
        (
            "[[column]]\nname = \"a\"\nvalue = \"\"\"\n1 +\n  b\"\"\"",
            "5:3",
        ),
        (
            "[[column]]\nname = \"a\"\nvalue = \"\\\"\\u00e9\\\" + b\"",
            "3:23",
        ),
        ("[[column]]\nname = \"a\"\nvalue = \"'é' + b\"", "3:16"),
        (
            "[[column]]\nname = \"a\"\nvalue = \"\"\"\\\n   1 + b\"\"\"",
            "4:8",
        ),
    ] {
        error(toml, place, "no earlier step adds `b`", "");
    }
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let toml = "color = 1\n[batch]\nvcpus = 1\n[[check]]\nrule = \"x ==\"\n";
    let all = errors(toml);
    let places: Vec<_> = all.iter().map(|e| e.0.as_str()).collect();
    assert_eq!(places, ["1:1", "3:1", "5:13"]);
}

#[test]
fn columns_are_checked_against_the_header() {
    let toml = r#"
[input]
required = ["Custmer ID"]
key = ["Customer ID"]
types = { Zip = "text" }
[[step]]
kind = "sentiment"
column = "Note"
[[step]]
kind = "http"
url = "http://a/{{ row['Customer ID'] }}/{{ row.sa_clas }}/{{ row.due }}"
outputs = { due = { json = "$" } }
[[column]]
name = "x"
value = "row.due + row['Amuont'] + row.sa_score"
[report]
chart = "sa_clss"
links = ["Website", "x"]
"#;
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let header = ["Customer ID", "ZIP", "Notes", "Amount"].map(str::to_owned);
    let all: Vec<_> = pipeline
        .check_columns(&header)
        .into_iter()
        .map(shown)
        .collect();
    let expected = [
        (
            "3:13",
            "the workbook has no column `Custmer ID`",
            "did you mean `Customer ID`?",
        ),
        (
            "5:11",
            "the workbook has no column `Zip`",
            "did you mean `ZIP`?",
        ),
        (
            "8:10",
            "the workbook has no column `Note`",
            "did you mean `Notes`?",
        ),
        (
            "11:45",
            "the workbook has no column `sa_clas`",
            "did you mean `sa_class`?",
        ),
        (
            "11:63",
            "`due` is not available here: a later step adds it",
            "",
        ),
        (
            "15:20",
            "the workbook has no column `Amuont`",
            "did you mean `Amount`?",
        ),
        (
            "17:9",
            "the workbook has no column `sa_clss`",
            "did you mean `sa_class`?",
        ),
        (
            "18:10",
            "the workbook has no column `Website`",
            "available: `Customer ID`, `ZIP`, `Notes`, `Amount`, `sa_class`, `sa_score`, `due`, `x`",
        ),
    ];
    let all: Vec<_> = all.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_column_that_the_workbook_has_cannot_be_added() {
    let toml = "[[step]]\nkind = \"sentiment\"\ncolumn = \"Note\"\n[[column]]\nname = \"total\"\nvalue = \"sa_score\"";
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let wrong = |header: &[&str]| -> Vec<_> {
        let header: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
        pipeline
            .check_columns(&header)
            .into_iter()
            .map(shown)
            .collect()
    };
    assert_eq!(wrong(&["Note", "Total", "status"]), []);
    let found = wrong(&["Note", "total", "sa_class"]);
    let places: Vec<_> = found.iter().map(|e| (&*e.0, &*e.1)).collect();
    assert_eq!(
        places,
        [
            ("1:1", "the workbook already has a column `sa_class`"),
            ("5:8", "the workbook already has a column `total`"),
        ]
    );
    assert!(found[0].2.contains("rename or remove one of them"));
}

#[test]
fn a_result_with_more_columns_than_a_sheet_is_refused() {
    let toml = "[[step]]\nkind = \"sentiment\"\ncolumn = \"c0\"";
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let header = |n: usize| -> Vec<String> { (0..n).map(|i| format!("c{i}")).collect() };
    // Two columns of the step, and `status`, `error`, `attempts`, `input row`.
    assert!(pipeline.check_columns(&header(16_384 - 6)).is_empty());
    let found = pipeline.check_columns(&header(16_384 - 5));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].message.contains("would have 16385 columns")
            && found[0]
                .message
                .contains("16379 from the workbook, up to `c16378`"),
        "{}",
        found[0]
    );
    let help = found[0].help.as_deref().unwrap_or_default();
    assert!(help.contains("stray cells"), "{help}");
}

#[test]
fn input_columns_with_names_of_result_columns_are_renamed() {
    assert_eq!(
        result_headers(&["ID", "status", "Error", "error", "error (input)"]),
        [
            "ID",
            "status (input)",
            "Error",
            "error (input 2)",
            "error (input)"
        ]
    );
}

#[test]
fn parameters_and_fetched_files_are_parsed() {
    let hash = "AB".repeat(32);
    let toml = format!(
        "[parameters]\nlimit = \"0.5\"\nmonth = {{}}\n[[step]]\nkind = \"command\"\nprogram = [\"./score\", \"Ref::limit\", \"Ref::month\"]\noutputs = [\"a\"]\nfetch = {{ url = \"s3://b/k/score.ZIP\", sha256 = \"{hash}\" }}"
    );
    let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
    let StepKind::Command(command) = &pipeline.steps[0].kind else {
        panic!("{pipeline:?}")
    };
    let month = Argument::Parameter("month".to_owned());
    assert_eq!(command.program, ["./score".into(), "0.5".into(), month]);
    let fetch = command.fetch.as_ref().unwrap();
    assert_eq!(
        (fetch.kind, &*fetch.sha256),
        (FetchKind::Zip, &*"ab".repeat(32))
    );
    assert_eq!(fetch.location(), Some(("b", "k/score.ZIP")));
    assert_eq!(fetch.file_name(), "score.ZIP");
}

#[test]
fn languages_and_translations_are_parsed() {
    let toml = r#"
[[step]]
kind = "language"
column = "Review"
languages = ["en", "de"]
[[step]]
kind = "translate"
column = "Review"
from = "lang_detected"
service = { url = "http://a:5000/", api_key = "k-1", allow_hosts = ["a"], rate = "5/s" }
[[step]]
kind = "translate"
column = "Title"
to = "pt-BR"
service = "amazon"
prefix = "title_"
"#;
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let names = [
        "lang_detected",
        "confidence",
        "translated",
        "title_translated",
    ];
    assert_eq!(pipeline.added_columns(), names);
    let [language, server, amazon] = &*pipeline.steps else {
        panic!("{:?}", pipeline.steps)
    };
    let StepKind::Language(language) = &language.kind else {
        panic!("{language:?}")
    };
    assert_eq!(
        (language.min_confidence, language.languages.len()),
        (0.5, 2)
    );
    let StepKind::Translate(translate) = &server.kind else {
        panic!("{server:?}")
    };
    assert_eq!(
        (&*translate.to, translate.from.as_deref()),
        ("en", Some("lang_detected"))
    );
    let TranslateService::Server(server) = &translate.service else {
        panic!("{translate:?}")
    };
    assert_eq!(
        (&*server.url, server.rate, server.attempts),
        ("http://a:5000", Some(5.0), 4)
    );
    assert!(matches!(
        &amazon.kind,
        StepKind::Translate(t) if matches!(t.service, TranslateService::Amazon) && t.to == "pt-BR" && t.from.is_none()
    ));
    let missing = pipeline.check_columns(&["Review".to_owned()]);
    assert!(
        missing.len() == 1 && missing[0].message.contains("`Title`"),
        "{missing:?}"
    );
}

#[test]
fn an_error_renders_with_its_line() {
    let error = Pipeline::parse("p.toml", "[batch]\nvcpus = 1\n").unwrap_err();
    let mut text = String::new();
    miette::NarratableReportHandler::new()
        .render_report(&mut text, error.as_ref())
        .unwrap();
    assert!(
        text.contains("p.toml") && text.contains("vcpus = 1"),
        "{text}"
    );
    assert!(text.contains("did you mean `vcpu`?"), "{text}");
}

proptest! {
    #[test]
    fn parsing_never_panics(toml in "(\\[\\[?(step|input|batch|column|check|notify|report|step.outputs)\\]\\]?\n|(kind|url|outputs|value|rule|name|sheet|types|to|memory|program|column|json|model|prefix|explain|languages|service|from|method|query|form|ok_when|process) = (\"(http|command|sentiment|classify|PUT|HEAD|language|translate|amazon|status == 1|x == 1|\\{\\{ row.x \\}\\}|\\\\u00e9|a@b)\"|'''\n?é'''|\"\"\"\\\\\n x\"\"\"|[0-9.]{1,3}|\\{ a = \\{ json = \"\\$\" \\} \\}|\\[\"a\"\\]|true|1979-05-27)\n|\\PC{0,6}\n){0,10}") {
        if let Ok(pipeline) = Pipeline::parse("p.toml", &toml) {
            let _ = pipeline.check_columns(&["x".to_owned()]);
        }
    }
}
