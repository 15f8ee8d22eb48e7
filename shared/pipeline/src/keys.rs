//! Every key of a pipeline file: one table that the parser, the JSON Schema and the reference in
//! `docs/pipeline.md` are made from, so that they cannot differ.

/// One `[section]`.
#[derive(Debug)]
pub(crate) struct Section {
    /// As the reference heads it.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// Its keys, in the order of the reference.
    pub(crate) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// What stands where the key is not given; `None` where it must be given.
    pub(crate) default: Option<&'static str>,
    pub(crate) meaning: &'static str,
}

/// What may stand as a key's value.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Any text that is not empty.
    Text,
    /// A list of texts that are not empty, none twice.
    Texts,
    /// A program and its arguments.
    Program,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text or a whole number from 1.
    SheetRef,
    /// A whole number in a range.
    Whole(u32, u32),
    /// A whole number above 0, of 64 bits.
    Count,
    /// A number above 0.
    Number,
    /// true or false.
    Bool,
    /// true, or left out.
    True,
    /// `"20s"`
    Duration,
    /// `"50/s"`
    Rate,
    /// `"512 MiB"`
    Memory,
    /// A text with values in it.
    Template,
    /// A table of such texts.
    Templates,
    /// A CEL expression.
    Expression,
    /// A table from column to type.
    Types,
    /// A table from column to [`EXTRACT`].
    Extracts,
    /// A section of its own.
    Table(&'static Section),
    /// A list of names of secrets, or a table from name to where its value is.
    Secrets,
    /// Sections, any number.
    Tables(&'static Section),
    /// `[[step]]`, whose keys depend on its kind.
    Steps,
    /// A table from name to text, or to [`PARAMETER`].
    Parameters,
    /// `"amazon"`, or a table of [`SERVER`].
    Service,
}

const fn required(name: &'static str, shape: Shape, meaning: &'static str) -> Key {
    Key {
        name,
        shape,
        default: None,
        meaning,
    }
}

const fn optional(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        shape,
        default: Some(default),
        meaning,
    }
}

/// The types of columns and outputs; [`rowmill_domain::value::Kind`] by name.
pub(crate) const KINDS: &[&str] = &[
    "bool", "number", "text", "date", "datetime", "time", "duration",
];

/// The file.
pub(crate) static ROOT: Section = Section {
    title: "The file",
    meaning: "`pipelines/<name>.toml`, or `pipeline.toml` beside the workbook.",
    keys: &[
        optional(
            "description",
            Shape::Text,
            "none",
            "What the pipeline is for, in a sentence.",
        ),
        optional(
            "secrets",
            Shape::Secrets,
            "none",
            "The secrets that steps may use, by names of capitals, digits and `_`; see [Secrets](#secrets). A list of names, before the first `[section]`, or `[secrets]` with where each value is.",
        ),
        optional(
            "parameters",
            Shape::Parameters,
            "none",
            "Values by name, for arguments of programs: `Ref::name` in `program` is the value. A text is fixed; a table lets each upload give it.",
        ),
        optional(
            "input",
            Shape::Table(&INPUT),
            "all columns of the first visible sheet",
            "Which sheet and columns come in.",
        ),
        optional(
            "step",
            Shape::Steps,
            "no steps",
            "What is done with each record, in order.",
        ),
        optional(
            "check",
            Shape::Tables(&CHECK),
            "no checks",
            "Rules on a record, after the steps.",
        ),
        optional(
            "column",
            Shape::Tables(&COLUMN),
            "no columns",
            "Derived columns, after the checks.",
        ),
        optional(
            "report",
            Shape::Table(&REPORT),
            "no chart, no links",
            "The result workbook.",
        ),
        optional(
            "notify",
            Shape::Table(&NOTIFY),
            "the deployment's default recipient",
            "Who gets the mail.",
        ),
        optional(
            "batch",
            Shape::Table(&BATCH),
            "see there",
            "How the work is spread.",
        ),
    ],
};

/// An entry of `[parameters]` that an upload may give.
pub(crate) static PARAMETER: Section = Section {
    title: "[parameters]: name = { .. }",
    meaning: "A value that each upload may give: on AWS by the metadata `parameter-name` of the workbook, on one machine by `--set name=value`. A name is of lower-case letters, digits, `-` and `_`. What is given wrongly, or is missing, refuses the workbook before anything is submitted.",
    keys: &[
        optional(
            "default",
            Shape::Text,
            "none: each upload must give it",
            "Its value where the upload gives none.",
        ),
        optional("type", Shape::OneOf(KINDS), "text", "The value's type."),
        optional(
            "matches",
            Shape::Text,
            "a text that does not begin with `-`",
            "A regular expression that all of the value must match.",
        ),
    ],
};

/// `[input]`
pub(crate) static INPUT: Section = Section {
    title: "[input]",
    meaning: "Which sheet and columns come in.",
    keys: &[
        optional(
            "sheet",
            Shape::SheetRef,
            "the first visible sheet",
            "The sheet's name, or its place from 1, hidden sheets counted; a hidden sheet may be named.",
        ),
        optional(
            "header_row",
            Shape::Whole(1, rowmill_domain::limits::SHEET_ROWS),
            "found",
            "The row of the headers, from 1.",
        ),
        optional(
            "required",
            Shape::Texts,
            "[]",
            "Columns that must have a value; rows without one are rejected.",
        ),
        optional(
            "key",
            Shape::Texts,
            "[]",
            "Columns that together are unique; later duplicates are rejected.",
        ),
        optional(
            "types",
            Shape::Types,
            "as in the workbook",
            "Type per column; rows with a value that is not of it are rejected.",
        ),
        optional(
            "hidden_rows",
            Shape::OneOf(&["keep", "skip"]),
            "\"keep\"",
            "Whether hidden rows come in; told for xlsx and xlsm only.",
        ),
        optional(
            "limits",
            Shape::Table(&LIMITS),
            "see there",
            "What the workbook may cost to read.",
        ),
    ],
};

/// `[input.limits]`. The names and defaults are those of the reader's own limits, which a test of
/// the crate that reads workbooks holds to.
pub(crate) static LIMITS: Section = Section {
    title: "[input.limits]",
    meaning: "What the workbook may cost to read. A workbook beyond a limit is refused with the limit's name; raise one only for files to be trusted.",
    keys: &[
        optional(
            "file_bytes",
            Shape::Count,
            "1073741824",
            "Bytes of the file. On AWS the function that reads it has 4,096 MB of temporary storage for the file and its rows together (`EphemeralStorage` of split in `template.yaml`).",
        ),
        optional(
            "inflated_bytes",
            Shape::Count,
            "17179869184",
            "Bytes of all parts of the archive after inflating.",
        ),
        optional(
            "ratio",
            Shape::Count,
            "300",
            "Inflated bytes per byte of the file, looked at from 64 MiB inflated on.",
        ),
        optional("entries", Shape::Count, "10000", "Files in the archive."),
        optional(
            "rows",
            Shape::Count,
            "1048576",
            "Rows of the sheet, the header counted.",
        ),
        optional("columns", Shape::Count, "16384", "Columns of the sheet."),
        optional(
            "cells",
            Shape::Count,
            "500000000",
            "Cells of the rows below the header, empty ones counted.",
        ),
        optional(
            "whole_cells",
            Shape::Count,
            "3000000",
            "Cells of a file that can only be read whole (xls and ods).",
        ),
        optional(
            "whole_bytes",
            Shape::Count,
            "134217728",
            "Bytes of a file that can only be read whole (xls).",
        ),
        optional(
            "string_bytes",
            Shape::Count,
            "268435456",
            "Bytes of the shared strings in memory.",
        ),
        optional(
            "text_bytes",
            Shape::Count,
            "1048576",
            "Bytes of the text of one cell.",
        ),
        optional(
            "row_bytes",
            Shape::Count,
            "33554432",
            "Bytes of the texts of one row.",
        ),
        optional("nesting", Shape::Count, "256", "Depth of XML elements."),
        optional(
            "seconds",
            Shape::Count,
            "3600",
            "Seconds until the last row, waiting for others not counted.",
        ),
    ],
};

/// What every `[[step]]` may have.
pub(crate) static STEP: Section = Section {
    title: "[[step]]",
    meaning: "What is done with each record. Steps run in order; later ones see the columns of earlier ones. A record whose step fails is a `failed` row with the reason, and goes no further.",
    keys: &[
        required(
            "kind",
            Shape::OneOf(STEP_KINDS),
            "What the step does. The keys below depend on it.",
        ),
        optional(
            "image",
            Shape::Text,
            "the deployment's own image",
            "A container image of its own, which makes a phase of its own. Locally the program itself is the image.",
        ),
    ],
};

/// The kinds of steps, with [`STEPS`] in the same order.
pub(crate) const STEP_KINDS: &[&str] = &[
    "http",
    "command",
    "sentiment",
    "language",
    "translate",
    "classify",
];

/// The keys of each kind.
pub(crate) static STEPS: [&Section; 6] = [
    &HTTP, &COMMAND, &SENTIMENT, &LANGUAGE, &TRANSLATE, &CLASSIFY,
];

static HTTP: Section = Section {
    title: "[[step]] kind = \"http\"",
    meaning: "Fetches a document for each record and takes columns out of it. Connection errors and the answers 408, 429, 500, 502, 503, 504, 522 and 524 are tried again, with growing pauses or as long as `Retry-After` says. Private, loopback and link-local addresses are refused, on every redirect too.",
    keys: &[
        required(
            "url",
            Shape::Template,
            "The address. Values belong through `urlencode`.",
        ),
        optional(
            "method",
            Shape::OneOf(METHODS),
            "\"GET\"",
            "The method of the request. What is not GET or HEAD may reach the source more than once: a child that is stopped does its records again.",
        ),
        optional(
            "query",
            Shape::Templates,
            "{}",
            "Parameters added to the address after `?`. Values are encoded as they must be; no `urlencode`.",
        ),
        optional("headers", Shape::Templates, "{}", "Headers of the request."),
        optional(
            "body",
            Shape::Template,
            "none",
            "The body, of all methods but GET and HEAD. Values in JSON belong through `tojson`.",
        ),
        optional(
            "form",
            Shape::Templates,
            "none",
            "The body as a form, in place of `body`. Values are encoded as they must be; no `urlencode`.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "\"30s\"",
            "Time limit of one attempt, from connection to last byte.",
        ),
        optional(
            "attempts",
            Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX),
            "4",
            "Attempts in all.",
        ),
        optional(
            "rate",
            Shape::Rate,
            "no limit",
            "Most requests in a time to one host, of all children of all runs that name the same rate together: `50/s`, `10/m`, `1000/h`.",
        ),
        optional(
            "robots",
            Shape::Bool,
            "true",
            "Whether the host's `robots.txt` is obeyed: an address that it refuses to `Rowmill` fails the record, and its `Crawl-delay` is kept to. `false` is for sources that have given leave, as those of an API.",
        ),
        optional(
            "allow_hosts",
            Shape::Texts,
            "[]",
            "Hosts, by name or address without port, that may have private addresses.",
        ),
        optional(
            "proxy",
            Shape::Template,
            "none",
            "The proxy that all requests go through, as `http://proxy.example:3128`. It looks names up, so that private addresses are refused only where the URL itself has them.",
        ),
        optional(
            "ca",
            Shape::Text,
            "none",
            "The text of a PEM file with certificates of authorities that are trusted besides the public ones.",
        ),
        optional(
            "cache",
            Shape::Bool,
            "false",
            "Whether a GET with the same address and headers is sent once in a run and its answer used for all records that ask for it. An answer of more than 16 KiB, compressed, is asked for once in each child.",
        ),
        optional(
            "ok_when",
            Shape::Expression,
            "the status is 200 to 299",
            "True where an answer of whatever status is a success. Knows the step's own outputs, those of earlier steps, and `status`. An answer of 200 to 299 that does not pass is asked for again.",
        ),
        optional(
            "pages",
            Shape::Table(&PAGES),
            "none",
            "How an answer goes on in further pages.",
        ),
        required(
            "outputs",
            Shape::Extracts,
            "The columns and where in the answer they come from.",
        ),
    ],
};

/// `[step.pages]` of an `http` step.
pub(crate) static PAGES: Section = Section {
    title: "[step.pages] of `http`",
    meaning: "How an answer goes on in further pages, by `next` or by `page`. All pages are one answer: an output is taken from the first page that has it, and one with `all` from all of them. Where the last page asked for is not the last there is, the row's `error` says so.",
    keys: &[
        optional(
            "next",
            Shape::Table(&NEXT),
            "-",
            "Where a page says which is the next. The last one says nothing, or `null` or `false`; what is no address fails the record.",
        ),
        optional(
            "page",
            Shape::Table(&PAGE),
            "-",
            "The parameter that counts pages. The last one is that after which there is a 404, a page without a value for any output, or the same page again.",
        ),
        optional(
            "max",
            Shape::Whole(1, 1000),
            "10",
            "Pages asked for at the most.",
        ),
        optional(
            "hosts",
            Shape::Texts,
            "[]",
            "Other hosts that `next` may lead to. They get none of the step's headers but Accept, Accept-Language, Content-Type and User-Agent.",
        ),
    ],
};

/// `next` of [`PAGES`].
pub(crate) static NEXT: Section = Section {
    title: "[step.pages] of `http`: next = { .. }",
    meaning: "Exactly one of `json`, `css`, `regex` and `header`.",
    keys: &[
        optional("json", Shape::Text, "-", "JSONPath of the address."),
        optional("css", Shape::Text, "-", "CSS selector of the link."),
        optional(
            "attribute",
            Shape::Text,
            "`href`",
            "With `css`: the attribute that holds the address.",
        ),
        optional(
            "regex",
            Shape::Text,
            "-",
            "Regular expression, whose first group is the address.",
        ),
        optional(
            "header",
            Shape::Text,
            "-",
            "A header that holds the address. Of `Link`, the one with `rel=\"next\"`.",
        ),
    ],
};

/// `page` of [`PAGES`].
pub(crate) static PAGE: Section = Section {
    title: "[step.pages] of `http`: page = { .. }",
    meaning: "A parameter that counts pages.",
    keys: &[
        required("query", Shape::Text, "The parameter's name."),
        optional(
            "from",
            Shape::Whole(0, 1_000_000),
            "1",
            "The number of the first page.",
        ),
    ],
};

/// The methods; [`crate::HttpMethod`] by name.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// The keys of [`EXTRACT`] of which an output has exactly one.
pub(crate) const EXTRACT_SOURCES: [&str; 5] = ["json", "css", "regex", "header", "status"];

/// One entry of an `http` step's outputs.
pub(crate) static EXTRACT: Section = Section {
    title: "[step.outputs] of `http`: name = { .. }",
    meaning: "Where a column comes from: exactly one of `json`, `css`, `regex`, `header` and `status`.",
    keys: &[
        optional(
            "json",
            Shape::Text,
            "-",
            "JSONPath (RFC 9535); the first match.",
        ),
        optional(
            "css",
            Shape::Text,
            "-",
            "CSS selector; the text of the first match, as a reader sees it: lines and cells stay apart, scripts and styles are left out. A page whose elements stand in each other more than 1,024 deep fails the record.",
        ),
        optional(
            "all",
            Shape::Bool,
            "false",
            "With `json`, `css` and `regex`: the texts of all matches, joined by `; `.",
        ),
        optional(
            "attribute",
            Shape::Text,
            "the element's text",
            "With `css`: this attribute of the first match, as `href`.",
        ),
        optional(
            "regex",
            Shape::Text,
            "-",
            "Regular expression on the answer's text; the first group of the first match, or the match where there is no group.",
        ),
        optional("header", Shape::Text, "-", "A header of the answer."),
        optional(
            "status",
            Shape::True,
            "-",
            "The status of the answer, as a number.",
        ),
        optional(
            "type",
            Shape::OneOf(KINDS),
            "as JSON says; number for `status`; else text",
            "The column's type. A value that is not of it fails the record. Without it a whole number of JSON beyond 2^53, which a number of Excel's does not hold, is a text, with all its digits.",
        ),
        optional(
            "optional",
            Shape::Bool,
            "false",
            "Whether a record without a match is ok. The cell is then empty. An empty answer has no match, and with `json` neither has a body that is no JSON and comes with a status that only `ok_when` takes for a success.",
        ),
    ],
};

static COMMAND: Section = Section {
    title: "[[step]] kind = \"command\"",
    meaning: "Runs a program of yours, started once for many records or, with `process`, for each. It reads `{\"row\":17,\"values\":{..}}` lines on stdin and answers each with `{\"row\":17,\"outputs\":{..}}` or `{\"row\":17,\"error\":\"..\"}` on stdout.",
    keys: &[
        required(
            "program",
            Shape::Program,
            "The program and its arguments, started in the pipeline's folder, or with `fetch` in that of what was fetched. An argument `Ref::name` is that one of `[parameters]`.",
        ),
        required("outputs", Shape::Texts, "The columns it adds."),
        optional(
            "timeout",
            Shape::Duration,
            "\"60s\"",
            "Time limit per record.",
        ),
        optional(
            "attempts",
            Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX),
            "1",
            "Attempts in all on a record that crashed the program or ran out of time.",
        ),
        optional(
            "process",
            Shape::OneOf(&["child", "record"]),
            "\"child\"",
            "`child`: one process reads the records of a child line by line. `record`: one process for each record reads one line, answers it, and ends.",
        ),
        optional(
            "memory",
            Shape::Memory,
            "no limit but the child's",
            "Address space that a process of the program may ask for. On Linux; passed over elsewhere.",
        ),
        optional(
            "fetch",
            Shape::Table(&FETCH),
            "the image or the pipeline's folder has it",
            "A script or a zip that each child fetches first.",
        ),
    ],
};

/// `fetch` of a `command` step.
pub(crate) static FETCH: Section = Section {
    title: "[step.fetch] of `command`",
    meaning: "A script or a zip with the program. Each child fetches it into a folder of its own, which goes with the child; the program finds its address and type in its environment as `BATCH_FILE_S3_URL` and `BATCH_FILE_TYPE`.",
    keys: &[
        required(
            "url",
            Shape::Text,
            "`s3://bucket/key`, in the work bucket under `programs/`, or in a bucket that the deployment allows; or a path in the pipeline's folder.",
        ),
        required(
            "sha256",
            Shape::Text,
            "The SHA-256 of the file, 64 hexadecimal digits. Another file is refused.",
        ),
        optional(
            "type",
            Shape::OneOf(&["script", "zip"]),
            "`zip` where the name ends in .zip, else `script`",
            "A script is put there as it is and may be started; a zip is unpacked.",
        ),
    ],
};

static SENTIMENT: Section = Section {
    title: "[[step]] kind = \"sentiment\"",
    meaning: "Scores an English text with a lexicon, offline. Adds `sa_class` (positive, neutral, negative) and `sa_score` (-1 to 1).",
    keys: &[required("column", Shape::Text, "The column with the text.")],
};

static LANGUAGE: Section = Section {
    title: "[[step]] kind = \"language\"",
    meaning: "Tells the language of a text, offline. Adds `lang_detected` (as `en`, ISO 639-1) and `confidence` (0 to 1). Where it cannot be told both stay empty, and `error` says why.",
    keys: &[
        required("column", Shape::Text, "The column with the text."),
        optional(
            "languages",
            Shape::Texts,
            "the 70 it knows",
            "The languages that occur, as `[\"en\", \"de\"]`. With few of them shorter texts can be told; a text in any other is mistaken for one of them.",
        ),
        optional(
            "min_confidence",
            Shape::Number,
            "0.5",
            "Below this, at most 1, a language is not told.",
        ),
        optional(
            "prefix",
            Shape::Text,
            "none",
            "Put before the names of the columns, as where a pipeline has two such steps: `title_` adds `title_lang_detected`.",
        ),
    ],
};

static TRANSLATE: Section = Section {
    title: "[[step]] kind = \"translate\"",
    meaning: "Translates a text. Adds `translated`. A text is translated once in a run, however many records of however many children have it; one in the wanted language already, and one without a letter, comes back as it is. What is longer than the service takes is cut at the ends of sentences.",
    keys: &[
        required("column", Shape::Text, "The column with the text."),
        optional("to", Shape::Text, "\"en\"", "The language to translate to."),
        optional(
            "from",
            Shape::Text,
            "\"auto\"",
            "The column with the text's language, as `lang_detected`. `auto`, and where the column is empty: the service tells it.",
        ),
        required(
            "service",
            Shape::Service,
            "Who translates: `\"amazon\"` is Amazon Translate, on AWS only; `{ url = \"https://..\" }` is a server that speaks LibreTranslate's protocol.",
        ),
        optional(
            "prefix",
            Shape::Text,
            "none",
            "Put before the name of the column: `title_` adds `title_translated`.",
        ),
    ],
};

/// `service` of a `translate` step, where it is a server.
pub(crate) static SERVER: Section = Section {
    title: "[step.service] of `translate`",
    meaning: "A server that speaks LibreTranslate's protocol. It is asked, tried again and paused for as a `http` step does it, and its address is guarded alike.",
    keys: &[
        required("url", Shape::Text, "Its address, without `/translate`."),
        optional(
            "api_key",
            Shape::Template,
            "none",
            "The key that it asks for.",
        ),
        optional(
            "max_chars",
            Shape::Whole(1, 1_000_000),
            "as the server says, else 5000",
            "Characters of one request.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "\"30s\"",
            "Time limit of one attempt.",
        ),
        optional(
            "attempts",
            Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX),
            "4",
            "Attempts in all on each request.",
        ),
        optional(
            "rate",
            Shape::Rate,
            "no limit",
            "Most requests in a time, as in a `http` step.",
        ),
        optional(
            "allow_hosts",
            Shape::Texts,
            "[]",
            "The server's host, where it has a private address.",
        ),
    ],
};

static CLASSIFY: Section = Section {
    title: "[[step]] kind = \"classify\"",
    meaning: "Labels a text with a model of your own, made by `rowmill train`, offline. Adds `label`, `probability` (0 to 1) and, with `explain`, `words`.",
    keys: &[
        required("column", Shape::Text, "The column with the text."),
        required(
            "model",
            Shape::Text,
            "The model's file, relative to the pipeline's folder.",
        ),
        optional(
            "explain",
            Shape::Whole(1, 100),
            "no column `words`",
            "How many words go into `words`: those that spoke loudest for the label.",
        ),
        optional(
            "prefix",
            Shape::Text,
            "none",
            "Put before the names of the columns, as where a pipeline has two such steps: `topic_` adds `topic_label`.",
        ),
    ],
};

/// `[[check]]`
pub(crate) static CHECK: Section = Section {
    title: "[[check]]",
    meaning: "A rule that each record must pass, after the steps. A rule that meets an empty column does not pass.",
    keys: &[
        required("rule", Shape::Expression, "True where the record passes."),
        optional(
            "on_failure",
            Shape::OneOf(&["fail", "warn"]),
            "\"fail\"",
            "`fail`: the row is `failed`. `warn`: it stays `ok`, with the warning in `error`.",
        ),
    ],
};

/// `[[column]]`
pub(crate) static COLUMN: Section = Section {
    title: "[[column]]",
    meaning: "A column computed from the others. Where it cannot be (a column it needs is empty), its cell is empty and `error` says why.",
    keys: &[
        required("name", Shape::Text, "Its header."),
        required(
            "value",
            Shape::Expression,
            "Its value: a text, a number, or true or false.",
        ),
    ],
};

/// `[report]`
pub(crate) static REPORT: Section = Section {
    title: "[report]",
    meaning: "The result workbook.",
    keys: &[
        optional(
            "chart",
            Shape::Text,
            "no chart",
            "The column whose values the sheet Summary counts and charts.",
        ),
        optional(
            "links",
            Shape::Texts,
            "no links",
            "Columns whose web and mail addresses (http, https, mailto) can be clicked in the result; up to 65,530 in a sheet, as Excel takes them.",
        ),
    ],
};

/// `[notify]`
pub(crate) static NOTIFY: Section = Section {
    title: "[notify]",
    meaning: "Who gets the mail.",
    keys: &[optional(
        "to",
        Shape::Texts,
        "the deployment's default recipient",
        "Mail addresses, at most 50.",
    )],
};

/// `[batch]`
pub(crate) static BATCH: Section = Section {
    title: "[batch]",
    meaning: "How the work is spread over children, each a job of AWS Batch. `rowmill plan` shows what comes of it.",
    keys: &[
        optional(
            "seconds_per_record",
            Shape::Number,
            "0.01",
            "Expected seconds of work on a record; children are sized by it, to some 4 minutes each.",
        ),
        optional(
            "concurrency",
            Shape::Whole(1, 1000),
            "16",
            "Records worked on at once in a child.",
        ),
        optional(
            "max_children",
            Shape::Whole(1, 1_000_000),
            "2000",
            "Most children of a phase: the cap on the load on a source.",
        ),
        optional(
            "vcpu",
            Shape::Number,
            "0.25",
            "vCPUs of a child: 0.25, 0.5, 1, 2, 4, 8 or 16.",
        ),
        optional(
            "memory",
            Shape::Memory,
            "\"512 MiB\"",
            "Memory of a child; what AWS Fargate offers depends on `vcpu`.",
        ),
        optional(
            "attempts",
            Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX),
            "10",
            "Attempts of a child. Only faults of the machine are tried again, never a bad record.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "\"1h\"",
            "Time limit of an attempt of a child, at least 60 s.",
        ),
    ],
};
