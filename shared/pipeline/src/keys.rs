//! Every key of a pipeline file, in one table. The parser, the JSON Schema and the reference in
//! `docs/pipeline.md` are derived from it, so they cannot disagree.

use crate::Locale;

/// One `[section]` of a pipeline file.
#[derive(Debug)]
pub(crate) struct Section {
    /// The heading in the reference, in Markdown.
    pub(crate) title: &'static str,
    /// What the section is for.
    pub(crate) meaning: &'static str,
    /// The keys, in the order of the reference.
    pub(crate) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// The default in words or as TOML. `None`: the key is required.
    pub(crate) default: Option<&'static str>,
    pub(crate) meaning: &'static str,
}

/// The values that a key accepts.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A string that is not empty.
    Text,
    /// A list of distinct strings that are not empty.
    Texts,
    /// A program and its arguments.
    Program,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A string, or a whole number from 1.
    SheetRef,
    /// A whole number in a range.
    Whole(u32, u32),
    /// A list of distinct statuses of HTTP responses.
    Statuses,
    /// A whole number above 0 that fits into 64 bits.
    Count,
    /// A number above 0.
    Number,
    /// true or false.
    Bool,
    /// Only `true`.
    True,
    /// `"20s"`
    Duration,
    /// `"50/s"`
    Rate,
    /// `"512 MiB"`
    Memory,
    /// `"100 GiB"`
    Storage,
    /// `"5%"`, or a whole number.
    Tolerance,
    /// A minijinja template.
    Template,
    /// A table of templates.
    Templates,
    /// A CEL expression.
    Expression,
    /// A table: column = type.
    Types,
    /// A table: column = locale.
    Locales,
    /// A table: column = [`EXTRACT`].
    Extracts,
    /// A nested section.
    Table(&'static Section),
    /// A list of names of secrets, or a table: name = location of the value.
    Secrets,
    /// Any number of nested sections.
    Tables(&'static Section),
    /// `[[step]]`, whose keys depend on `kind`.
    Steps,
    /// A table: name = string or [`PARAMETER`].
    Parameters,
    /// `"amazon"`, or a table of [`SERVER`].
    Service,
}

/// The keys of a section, as a table: name, accepted values, default (in words or as TOML; a key
/// without one is required) and meaning.
macro_rules! keys {
    (default $default:expr) => { Some($default) };
    (default) => { None };
    ($($name:literal: $shape:expr $(, default $default:literal)? => $meaning:literal)*) => {
        &[$(Key {
            name: $name,
            shape: $shape,
            default: keys!(default $($default)?),
            meaning: $meaning,
        }),*]
    };
}

/// The types of columns and outputs: the names of [`rowmill_domain::value::Kind`].
pub(crate) const KINDS: &[&str] = &[
    "bool", "number", "text", "date", "datetime", "time", "duration",
];

/// The top level of the file.
pub(crate) static ROOT: Section = Section {
    title: "Top level",
    meaning: "The file is `pipelines/<name>.toml` in the work bucket, or `pipeline.toml` next to the workbook.",
    keys: keys! {
        "description": Shape::Text, default "none" =>
            "One sentence that says what the pipeline is for."
        "secrets": Shape::Secrets, default "none" =>
            "The [secrets](#secrets) that steps can use. Either a list of names, before the first `[section]`, or a section `[secrets]` that says where each value is stored. Names consist of capital letters, digits and `_`."
        "parameters": Shape::Parameters, default "none" =>
            "Named values for the arguments of programs: `Ref::name` in `program` stands for the value. `name = \"text\"` fixes the value, `name = { .. }` lets each upload set it."
        "input": Shape::Table(&INPUT), default "all columns of the first visible sheet" =>
            "Which sheet and columns to read."
        "step": Shape::Steps, default "no steps" =>
            "What to do with each record, in order."
        "check": Shape::Tables(&CHECK), default "no checks" =>
            "Rules that each record must pass after the steps."
        "column": Shape::Tables(&COLUMN), default "no columns" =>
            "Derived columns, computed after the checks."
        "review": Shape::Tables(&REVIEW), default "nothing is reviewed" =>
            "The column whose values people review."
        "report": Shape::Table(&REPORT), default "no chart, no links" =>
            "The result workbook."
        "notify": Shape::Table(&NOTIFY), default "the deployment's default recipient" =>
            "Who receives the email."
        "batch": Shape::Table(&BATCH), default "see [batch]" =>
            "How the work is distributed."
    },
};

/// An entry of `[parameters]` that an upload can set.
pub(crate) static PARAMETER: Section = Section {
    title: "`[parameters]`: `name = { .. }`",
    meaning: "A value that each upload can set: on AWS with the object metadata `parameter-name`, on one machine with `--set name=value`. Names consist of lower-case letters, digits, `-` and `_`. If a value is invalid or missing, the workbook is refused before any job is submitted.",
    keys: keys! {
        "default": Shape::Text, default "none: each upload must set it" =>
            "The value if the upload does not set one."
        "type": Shape::OneOf(KINDS), default "text" =>
            "The type of the value."
        "matches": Shape::Text, default "text that does not start with `-`" =>
            "A regular expression that the whole value must match."
    },
};

/// `[input]`
pub(crate) static INPUT: Section = Section {
    title: "`[input]`",
    meaning: "Which sheet and columns to read.",
    keys: keys! {
        "sheet": Shape::SheetRef, default "the first visible sheet" =>
            "The name of the sheet, or its 1-based position, counting hidden sheets. A hidden sheet can be chosen too."
        "header_row": Shape::Whole(1, rowmill_domain::limits::SHEET_ROWS), default "detected" =>
            "The row number of the header, from 1. By default it is the first row with values, or one of the next 50 rows if only that one has the columns that the pipeline names."
        "delimiter": Shape::OneOf(rowmill_domain::Delimiter::NAMES), default "detected" =>
            "What separates the values of csv, tsv and other delimited text. `none` reads each line as one value. Other formats ignore it."
        "required": Shape::Texts, default "[]" =>
            "Columns that must have a value. Rows without one are rejected."
        "key": Shape::Texts, default "[]" =>
            "Columns that together identify a row. Later rows with the same values are rejected."
        "types": Shape::Types, default "as in the workbook" =>
            "The type of each column. Rows with a value of another type are rejected."
        "locale": Shape::OneOf(Locale::NAMES), default "`1234.5` and `2026-12-31` only" =>
            "How texts in columns of the types number, date, datetime and time are written: the decimal mark, what separates thousands, and the order of dates. [A recipe](write-a-pipeline.md#numbers-and-dates-as-people-type-them) explains it."
        "locales": Shape::Locales, default "`locale`" =>
            "The locale of a column that differs from the others."
        "hidden_rows": Shape::OneOf(&["keep", "skip"]), default "\"keep\"" =>
            "Whether to read hidden rows. They are recognized in all formats except csv and tsv."
        "limits": Shape::Table(&LIMITS), default "see [input.limits]" =>
            "Limits for reading the workbook."
    },
};

/// `[input.limits]`. A test of the crate that reads workbooks keeps the names and defaults equal to
/// the reader's own.
pub(crate) static LIMITS: Section = Section {
    title: "`[input.limits]`",
    meaning: "Limits for reading the workbook. A workbook that exceeds a limit is refused, and the message names the limit. Raise a limit only for files that you trust.",
    keys: keys! {
        "file_bytes": Shape::Count, default "1073741824" =>
            "Size of the file in bytes. On AWS the function that reads it has 4,096 MB of temporary storage for the file and its rows together (`EphemeralStorage` of split in `template.yaml`)."
        "inflated_bytes": Shape::Count, default "17179869184" =>
            "Total size of the archive's files when decompressed, in bytes."
        "ratio": Shape::Count, default "300" =>
            "Decompressed bytes per byte of the file; checked once 64 MiB are decompressed. In ods files, repeated cells count as decompressed."
        "entries": Shape::Count, default "10000" =>
            "Number of files in the archive."
        "rows": Shape::Count, default "1048576" =>
            "Number of rows in the sheet, header included."
        "columns": Shape::Count, default "16384" =>
            "Number of columns in the sheet."
        "cells": Shape::Count, default "500000000" =>
            "Number of cells below the header, empty ones included; a blank row counts as one cell."
        "whole_cells": Shape::Count, default "3000000" =>
            "Number of cells in an xls sheet whose rows are out of order."
        "whole_bytes": Shape::Count, default "134217728" =>
            "Size in bytes of what must be loaded as a whole: an xls file, or an xlsx sheet whose rows are not in order."
        "string_bytes": Shape::Count, default "268435456" =>
            "Memory for shared strings, in bytes."
        "text_bytes": Shape::Count, default "1048576" =>
            "Length of the text of one cell, in bytes."
        "row_bytes": Shape::Count, default "33554432" =>
            "Total length of the texts of one row, in bytes."
        "nesting": Shape::Count, default "256" =>
            "Nesting depth of XML elements."
        "seconds": Shape::Count, default "3600" =>
            "Time to read all rows, in seconds. Waiting for other work does not count."
    },
};

/// The keys of every `[[step]]`.
pub(crate) static STEP: Section = Section {
    title: "`[[step]]`",
    meaning: "An action on each record. Steps run in order, and later steps see the columns of earlier ones. If a step fails for a record, the row is `failed` with the reason, and its remaining steps do not run.",
    keys: keys! {
        "kind": Shape::OneOf(STEP_KINDS) =>
            "What the step does. The other keys depend on it."
        "image": Shape::Text, default "the image of the deployment" =>
            "The container image for this step. A step whose image differs from that of the previous step starts a new phase. Ignored on one machine."
        "vcpu": Shape::Number, default "as in `[batch]`" =>
            "Number of vCPUs of a child. A step that needs another size than the previous step starts a new phase, which has children of that size."
        "memory": Shape::Memory, default "as in `[batch]`" =>
            "Memory of a child, as `vcpu`."
        "storage": Shape::Storage, default "as in `[batch]`" =>
            "Ephemeral storage of a child, as `vcpu`."
    },
};

/// The kinds of steps, in the order of [`STEPS`].
pub(crate) const STEP_KINDS: &[&str] = &[
    "http",
    "command",
    "sentiment",
    "language",
    "translate",
    "classify",
];

/// The keys of each kind of step, in the order of [`STEP_KINDS`].
pub(crate) static STEPS: [&Section; 6] = [
    &HTTP, &COMMAND, &SENTIMENT, &LANGUAGE, &TRANSLATE, &CLASSIFY,
];

static HTTP: Section = Section {
    title: "`[[step]]` with `kind = \"http\"`",
    meaning: "Sends an HTTP request for each record and extracts columns from the response. Connection errors and the statuses in `retry_on` are retried, with exponential backoff or after the time in `Retry-After`. Private, loopback and link-local addresses are refused, after redirects too.",
    keys: keys! {
        "url": Shape::Template =>
            "The URL. Pass values through `urlencode`. If a column holds addresses without a scheme, such as `example.com/x`, they are requested with `https`."
        "method": Shape::OneOf(METHODS), default "\"GET\"" =>
            "The HTTP method. Use methods other than GET and HEAD only for requests that are safe to repeat: when a child is interrupted, its unfinished records are processed again."
        "query": Shape::Templates, default "{}" =>
            "Query parameters of the URL. Values are encoded for you; do not use `urlencode`."
        "headers": Shape::Templates, default "{}" =>
            "Request headers."
        "body": Shape::Template, default "none" =>
            "The request body, for methods other than GET and HEAD. Pass values in JSON through `tojson`."
        "form": Shape::Templates, default "none" =>
            "The fields of a form, sent instead of `body`. Values are encoded for you; do not use `urlencode`."
        "timeout": Shape::Duration, default "\"30s\"" =>
            "Time limit for one attempt, from connecting to the last byte. Parsing the response counts too, but has at least a second."
        "attempts": Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX), default "4" =>
            "Maximum number of attempts."
        "retry_on": Shape::Statuses, default "[408, 429, 500, 502, 503, 504, 522, 524]" =>
            "The statuses that are retried."
        "rate": Shape::Rate, default "no limit" =>
            "Maximum request rate for one host, shared by all children of all runs that use the same rate: `50/s`, `10/m`, `1000/h`."
        "robots": Shape::Bool, default "true" =>
            "Whether to obey the host's `robots.txt`: a URL that it disallows for `Rowmill` fails the record, and its `Crawl-delay` is respected. A record that would have to wait for longer than the child has time fails at once. Set `false` only for sources that allow automated access, such as an API."
        "allow_hosts": Shape::Texts, default "[]" =>
            "Hosts that may have private addresses, by name or address without a port."
        "proxy": Shape::Template, default "none" =>
            "The proxy for all requests, such as `http://proxy.example:3128`. The proxy resolves host names, so private addresses are refused only if the URL contains them literally."
        "ca": Shape::Text, default "none" =>
            "Certificates of additional certificate authorities to trust, as the text of a PEM file."
        "cache": Shape::Bool, default "false" =>
            "Whether to send a GET with the same URL and headers only once per run and to reuse the response for all records. A response larger than 16 KiB, compressed, is requested once per child."
        "auth": Shape::Table(&AUTH), default "none" =>
            "How the step signs in, beyond a header that you set."
        "cookies": Shape::OneOf(&["redirects", "step"]), default "\"redirects\"" =>
            "How long cookies are kept. `redirects`: while the redirects of one request are followed. `step`: for all requests that a child sends for this step, such as after a login."
        "ok_when": Shape::Expression, default "the status is 200 to 299" =>
            "A condition that decides, for every status, whether the response is a success. It can use the outputs of this step and of earlier ones, and `status`. A response with status 200 to 299 that does not pass is retried."
        "pages": Shape::Table(&PAGES), default "none" =>
            "How to follow the pages of a paginated response."
        "outputs": Shape::Extracts =>
            "The columns to add, and where each is in the response."
    },
};

/// `[step.auth]` of an `http` step.
pub(crate) static AUTH: Section = Section {
    title: "`[step.auth]` of `http`",
    meaning: "How the step signs in: exactly one of `oauth` and `digest`. Credentials are sent only to the host in `url`. For Basic authentication, set the header `Authorization`.",
    keys: keys! {
        "oauth": Shape::Table(&OAUTH), default "-" =>
            "OAuth 2.0 with client credentials. Each child gets a token, and a new one before that expires or if the source refuses it."
        "digest": Shape::Table(&DIGEST), default "-" =>
            "Digest authentication (RFC 7616) with MD5 or SHA-256."
    },
};

/// `oauth` of [`AUTH`].
pub(crate) static OAUTH: Section = Section {
    title: "`[step.auth]` of `http`: `oauth = { .. }`",
    meaning: "OAuth 2.0 with client credentials (RFC 6749, section 4.4).",
    keys: keys! {
        "url": Shape::Template =>
            "The URL that issues tokens."
        "client_id": Shape::Template =>
            "The client."
        "client_secret": Shape::Template =>
            "Its secret, such as `{{ secret('CLIENT') }}`."
        "scope": Shape::Template, default "none" =>
            "The scopes, separated by spaces."
        "audience": Shape::Template, default "none" =>
            "The API that the token is for, which some services need."
        "credentials": Shape::OneOf(&["header", "body"]), default "\"header\"" =>
            "Where client and secret are sent: in the header `Authorization`, or in the form."
    },
};

/// `digest` of [`AUTH`].
pub(crate) static DIGEST: Section = Section {
    title: "`[step.auth]` of `http`: `digest = { .. }`",
    meaning: "Digest authentication.",
    keys: keys! {
        "user": Shape::Template =>
            "The user."
        "password": Shape::Template =>
            "The password, such as `{{ secret('PASSWORD') }}`."
    },
};

/// `[step.pages]` of an `http` step.
pub(crate) static PAGES: Section = Section {
    title: "`[step.pages]` of `http`",
    meaning: "How to follow the pages of a paginated response: exactly one of `next`, `cursor`, `page` and `offset`. All pages count as one response: an output is taken from the first page that has it, and an output with `all` from every page. If there are more pages than `max`, the row's `error` says so.",
    keys: keys! {
        "next": Shape::Table(&NEXT), default "-" =>
            "Where a page holds the URL of the next one. The last page has none, or `null` or `false`. An invalid URL fails the record."
        "page": Shape::Table(&PAGE), default "-" =>
            "The query parameter that counts pages. Paging ends before a 404, a page without a value for any output, or a page that repeats the one before."
        "cursor": Shape::Table(&CURSOR), default "-" =>
            "Where a page holds the cursor of the next one, and the query parameter for it. The last page has none, or an empty one, `null` or `false`."
        "offset": Shape::Table(&OFFSET), default "-" =>
            "The query parameter that counts records. Paging ends as with `page`."
        "max": Shape::Whole(1, 1000), default "10" =>
            "Maximum number of pages to request."
        "hosts": Shape::Texts, default "[]" =>
            "Other hosts that `next` may point to. Of the step's headers they receive only Accept, Accept-Language, Content-Type and User-Agent."
    },
};

/// `next` of [`PAGES`].
pub(crate) static NEXT: Section = Section {
    title: "`[step.pages]` of `http`: `next = { .. }`",
    meaning: "Where a page holds the URL of the next one: exactly one of `json`, `css`, `regex` and `header`.",
    keys: keys! {
        "json": Shape::Text, default "-" =>
            "JSONPath of the URL."
        "css": Shape::Text, default "-" =>
            "CSS selector of the link element."
        "attribute": Shape::Text, default "`href`" =>
            "With `css`: the attribute that holds the URL."
        "regex": Shape::Text, default "-" =>
            "Regular expression whose first group is the URL."
        "header": Shape::Text, default "-" =>
            "A header that holds the URL. In a `Link` header, the one with `rel=\"next\"`."
    },
};

/// `page` of [`PAGES`].
pub(crate) static PAGE: Section = Section {
    title: "`[step.pages]` of `http`: `page = { .. }`",
    meaning: "A query parameter that counts pages.",
    keys: keys! {
        "query": Shape::Text =>
            "The name of the parameter."
        "from": Shape::Whole(0, 1_000_000), default "1" =>
            "The number of the first page."
    },
};

/// `cursor` of [`PAGES`].
pub(crate) static CURSOR: Section = Section {
    title: "`[step.pages]` of `http`: `cursor = { .. }`",
    meaning: "Where a page holds the cursor of the next one: exactly one of `json`, `css`, `regex` and `header`.",
    keys: keys! {
        "query": Shape::Text =>
            "The name of the query parameter. The first request does not have it, unless `url` or `query` sets it."
        "json": Shape::Text, default "-" =>
            "JSONPath of the cursor."
        "css": Shape::Text, default "-" =>
            "CSS selector of the element with the cursor."
        "attribute": Shape::Text, default "the element's text" =>
            "With `css`: the attribute that holds the cursor."
        "regex": Shape::Text, default "-" =>
            "Regular expression whose first group is the cursor."
        "header": Shape::Text, default "-" =>
            "A header that holds the cursor."
    },
};

/// `offset` of [`PAGES`].
pub(crate) static OFFSET: Section = Section {
    title: "`[step.pages]` of `http`: `offset = { .. }`",
    meaning: "A query parameter that counts records.",
    keys: keys! {
        "query": Shape::Text =>
            "The name of the parameter."
        "size": Shape::Whole(1, 1_000_000) =>
            "The number of records on a page, by which the parameter grows. If the source needs to know it, set it in `query` of the step."
        "from": Shape::Whole(0, 1_000_000), default "0" =>
            "The first value."
    },
};

/// The HTTP methods: the names of [`crate::HttpMethod`].
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// The keys of [`EXTRACT`] that say where an output comes from. An output has exactly one of them.
pub(crate) const EXTRACT_SOURCES: [&str; 5] = ["json", "css", "regex", "header", "status"];

/// One entry of an `http` step's outputs.
pub(crate) static EXTRACT: Section = Section {
    title: "`[step.outputs]` of `http`: `name = { .. }`",
    meaning: "Where a column is in the response: exactly one of `json`, `css`, `regex`, `header` and `status`.",
    keys: keys! {
        "json": Shape::Text, default "-" =>
            "JSONPath (RFC 9535); the first match. JSON Lines are a list: `$[0].name`."
        "css": Shape::Text, default "-" =>
            "CSS selector, for HTML and XML; the text of the first match as a reader sees it: lines and cells stay separate, scripts and styles are ignored. In XML, names match in any case, and a prefix is part of the name: `dc\\\\:creator`. A page with elements nested more than 1,024 deep fails the record."
        "all": Shape::Bool, default "false" =>
            "With `json`, `css` and `regex`: the texts of all matches, joined by `; `."
        "attribute": Shape::Text, default "the element's text" =>
            "With `css`: the attribute to take from the first match, such as `href`."
        "regex": Shape::Text, default "-" =>
            "Regular expression on the text of the response; the first group of the first match, or the whole match if there is no group."
        "header": Shape::Text, default "-" =>
            "A header of the response."
        "status": Shape::True, default "-" =>
            "The status of the response, as a number."
        "absolute": Shape::Bool, default "false" =>
            "Whether the value is an address that becomes absolute, such as a link: relative to the `<base>` of a page, or else to the URL of the response."
        "type": Shape::OneOf(KINDS), default "the type in JSON; number for `status`; text otherwise" =>
            "The type of the column. A value of another type fails the record. A `datetime` or `date` can be a time with an offset, such as `2026-01-04T10:00:00+02:00`: the cell gets the time or day as written, because Excel has no offsets. Without `type`, a whole number in JSON beyond 2^53, which Excel cannot hold as a number, becomes text with all its digits."
        "optional": Shape::Bool, default "false" =>
            "Whether a response without a match is accepted; the cell is then empty. An empty response has no match. With `json`, a body that is not JSON also counts as having no match if its status is a success only because of `ok_when`."
    },
};

static COMMAND: Section = Section {
    title: "`[[step]]` with `kind = \"command\"`",
    meaning: "Runs your own program, started once for many records or, with `process`, once per record. It reads lines such as `{\"row\":17,\"values\":{..}}` on stdin and answers each with `{\"row\":17,\"outputs\":{..}}` or `{\"row\":17,\"error\":\"..\"}` on stdout.",
    keys: keys! {
        "program": Shape::Program =>
            "The program and its arguments. It starts in the pipeline's folder, or with `fetch` in the folder of the fetched files. The argument `Ref::name` stands for the parameter `name`."
        "outputs": Shape::Texts =>
            "The columns that the program adds."
        "timeout": Shape::Duration, default "\"60s\"" =>
            "Time limit per record."
        "attempts": Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX), default "1" =>
            "Maximum number of attempts for a record that crashes the program or exceeds the time limit."
        "process": Shape::OneOf(&["child", "record"]), default "\"child\"" =>
            "`child`: one process handles all records of a child, line by line. `record`: one process per record reads one line, answers it and exits."
        "process_memory": Shape::Memory, default "none: the memory of the child limits all together" =>
            "Maximum address space of each process of the program. Linux only; ignored elsewhere."
        "fetch": Shape::Table(&FETCH), default "the program is in the image or in the pipeline's folder" =>
            "A script or zip file that each child downloads first."
        "aws": Shape::Bool, default "false" =>
            "Whether the program gets the child's credentials for AWS. Set `true` only for programs that call AWS themselves; they can then do whatever the role of the jobs allows."
    },
};

/// `fetch` of a `command` step.
pub(crate) static FETCH: Section = Section {
    title: "`[step.fetch]` of `command`",
    meaning: "A script, or a zip file with the program. Each child downloads it into a temporary folder. The environment of the program holds the address and type as `BATCH_FILE_S3_URL` and `BATCH_FILE_TYPE`.",
    keys: keys! {
        "url": Shape::Text =>
            "`s3://bucket/key`, under `programs/` in the work bucket or in a bucket that the deployment allows; or a path in the pipeline's folder."
        "sha256": Shape::Text =>
            "The SHA-256 of the file, as 64 hexadecimal digits. A file with another hash is refused."
        "type": Shape::OneOf(&["script", "zip"]), default "`zip` if the name ends in .zip, otherwise `script`" =>
            "A script is stored as it is and made executable. A zip file is unpacked."
    },
};

static SENTIMENT: Section = Section {
    title: "`[[step]]` with `kind = \"sentiment\"`",
    meaning: "Scores English text with a lexicon, offline. Adds `sa_class` (positive, neutral, negative) and `sa_score` (-1 to 1).",
    keys: keys! {
        "column": Shape::Text =>
            "The column with the text."
    },
};

static LANGUAGE: Section = Section {
    title: "`[[step]]` with `kind = \"language\"`",
    meaning: "Detects the language of a text, offline. Adds `lang_detected` (ISO 639-1, such as `en`) and `confidence` (0 to 1). If the language could not be detected, both are empty and `error` says why.",
    keys: keys! {
        "column": Shape::Text =>
            "The column with the text."
        "languages": Shape::Texts, default "all 70 supported languages" =>
            "The languages that can occur, such as `[\"en\", \"de\"]`. With few languages, shorter texts can be detected, but a text in any other language is misidentified as one of them."
        "min_confidence": Shape::Number, default "0.5" =>
            "The lowest confidence at which a language counts as detected, at most 1."
        "prefix": Shape::Text, default "none" =>
            "Prefix for the names of the added columns, needed if a pipeline has two such steps: `title_` gives `title_lang_detected`."
    },
};

static TRANSLATE: Section = Section {
    title: "`[[step]]` with `kind = \"translate\"`",
    meaning: "Translates a text. Adds `translated`. The same text is translated only once per run. A text that is already in the target language, or has no letters, is returned unchanged. A text that is too long for the service is split between sentences.",
    keys: keys! {
        "column": Shape::Text =>
            "The column with the text."
        "to": Shape::Text, default "\"en\"" =>
            "The language to translate to."
        "from": Shape::Text, default "\"auto\"" =>
            "The column with the language of the text, such as `lang_detected`. With `auto`, or if the column is empty, the service detects the language."
        "service": Shape::Service =>
            "The translation service: `\"amazon\"` is Amazon Translate, on AWS only; `{ url = \"https://..\" }` is a server with the LibreTranslate API."
        "prefix": Shape::Text, default "none" =>
            "Prefix for the name of the added column: `title_` gives `title_translated`."
    },
};

/// `service = { .. }` of a `translate` step.
pub(crate) static SERVER: Section = Section {
    title: "`[step.service]` of `translate`",
    meaning: "A server with the LibreTranslate API. Retries, pauses and refused addresses are the same as in an `http` step.",
    keys: keys! {
        "url": Shape::Text =>
            "The URL of the server, without `/translate`."
        "api_key": Shape::Template, default "none" =>
            "The API key, if the server requires one."
        "max_chars": Shape::Whole(1, 1_000_000), default "the limit of the server, otherwise 5000" =>
            "Maximum number of characters in one request."
        "timeout": Shape::Duration, default "\"30s\"" =>
            "Time limit for one attempt."
        "attempts": Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX), default "4" =>
            "Maximum number of attempts for each request."
        "rate": Shape::Rate, default "no limit" =>
            "Maximum request rate, as in an `http` step."
        "allow_hosts": Shape::Texts, default "[]" =>
            "The host of the server, if it has a private address."
    },
};

static CLASSIFY: Section = Section {
    title: "`[[step]]` with `kind = \"classify\"`",
    meaning: "Labels a text with your own model, trained with `rowmill train`; offline. Adds `label`, `probability` (0 to 1) and, with `explain`, `words`.",
    keys: keys! {
        "column": Shape::Text =>
            "The column with the text."
        "model": Shape::Text =>
            "The file of the model, relative to the pipeline's folder."
        "explain": Shape::Whole(1, 100), default "no column `words`" =>
            "Number of words in `words`: those that contributed most to the label."
        "prefix": Shape::Text, default "none" =>
            "Prefix for the names of the added columns, needed if a pipeline has two such steps: `topic_` gives `topic_label`."
    },
};

/// `[[check]]`
pub(crate) static CHECK: Section = Section {
    title: "`[[check]]`",
    meaning: "A rule that each record must pass after the steps. A rule that uses an empty column does not pass.",
    keys: keys! {
        "rule": Shape::Expression =>
            "A condition that is true if the record passes."
        "on_failure": Shape::OneOf(&["fail", "warn"]), default "\"fail\"" =>
            "`fail`: the row is `failed`. `warn`: the row stays `ok`, with a warning in `error`."
    },
};

/// `[[column]]`
pub(crate) static COLUMN: Section = Section {
    title: "`[[column]]`",
    meaning: "A column computed from other columns. If a value cannot be computed, for example because a column is empty, the cell is empty and `error` says why.",
    keys: keys! {
        "name": Shape::Text =>
            "The header of the column."
        "value": Shape::Expression =>
            "The value: text, a number, or true or false."
    },
};

/// `[[review]]`
pub(crate) static REVIEW: Section = Section {
    title: "`[[review]]`",
    meaning: "The column whose values people approve or correct on [the page](api.md). A pipeline has at most one.",
    keys: keys! {
        "column": Shape::Text =>
            "The column: one that a step or a derived column adds."
        "labels": Shape::Texts, default "those of the model, and the values in the result" =>
            "The values that a reviewer can choose."
        "reviewers": Shape::Texts, default "everybody who may review" =>
            "Who may review the runs of this pipeline."
    },
};

/// `[report]`
pub(crate) static REPORT: Section = Section {
    title: "`[report]`",
    meaning: "The result workbook.",
    keys: keys! {
        "chart": Shape::Text, default "no chart" =>
            "The column whose values are counted and charted on the sheet Summary."
        "links": Shape::Texts, default "no links" =>
            "Columns whose URLs and mail addresses (http, https, mailto) become links in the result. Excel allows up to 65,530 links per sheet."
    },
};

/// `[notify]`
pub(crate) static NOTIFY: Section = Section {
    title: "`[notify]`",
    meaning: "Who receives the email.",
    keys: keys! {
        "to": Shape::Texts, default "the deployment's default recipient" =>
            "Mail addresses, at most 50."
    },
};

/// `[batch]`
pub(crate) static BATCH: Section = Section {
    title: "`[batch]`",
    meaning: "How the work is distributed over children, each an element of an AWS Batch array job. `rowmill plan` shows the resulting numbers, the time and the cost.",
    keys: keys! {
        "seconds_per_record": Shape::Number, default "0.01" =>
            "Expected seconds of processing per record, until a run has measured them."
        "concurrency": Shape::Whole(1, 1000), default "16" =>
            "Number of records that a child processes at the same time."
        "within": Shape::Duration, default "none: the fastest plan that costs at most 10% more than the cheapest" =>
            "The time in which all records should be processed. The cheapest plan that meets it is chosen, or the fastest if none does."
        "max_records": Shape::Whole(1, rowmill_domain::limits::SHEET_ROWS), default "none: no limit" =>
            "The most records of a run. A workbook with more is refused before anything is submitted."
        "max_cost": Shape::Number, default "none: no limit" =>
            "The most that a run may cost on AWS, in USD. A run that is planned to cost more is refused before anything is submitted, and one that reaches it while it runs is stopped, also on one machine. `rowmill plan` shows the cost."
        "stop_after": Shape::Tolerance, default "none: no limit" =>
            "The most records that may fail, as a share of those processed or as a number, before the run is stopped. A share counts from 100 processed records on."
        "tolerate": Shape::Tolerance, default "none: no limit" =>
            "The most records that may be failed or missing in the end, as a share of all records or as a number. With more, the run is failed; its result is delivered all the same."
        "max_children": Shape::Whole(1, 1_000_000), default "none: as many as the plan has" =>
            "Maximum number of children of a phase. It limits the load on a source."
        "records_per_child": Shape::Whole(1, rowmill_domain::limits::CHUNK_RECORDS), default "none: as in the plan" =>
            "The number of records of each child, instead of the planner's choice."
        "capacity": Shape::OneOf(&["fargate", "ec2"]), default "\"fargate\"" =>
            "What `vcpu` and `memory` are for. `fargate`: sizes of AWS Fargate, which run on every deployment. `ec2`: any size that an EC2 instance has; the deployment must have `Capacity=ec2`."
        "vcpu": Shape::Number, default "0.25" =>
            "Number of vCPUs of a child: 0.25, 0.5, 1, 2, 4, 8, 16 or 32. With `capacity = \"ec2\"` any whole number."
        "memory": Shape::Memory, default "\"512 MiB\"" =>
            "Memory of a child. The sizes that AWS Fargate offers depend on `vcpu`."
        "storage": Shape::Storage, default "\"20 GiB\"" =>
            "Ephemeral storage of a child, at most 200 GiB. AWS Fargate includes 20 GiB and charges what is above. Only with `capacity = \"fargate\"`; ignored on one machine."
        "priority": Shape::Whole(0, rowmill_domain::limits::PRIORITY_MAX), default "0" =>
            "When jobs of several runs wait for capacity, those with the highest priority start first. What already runs is not interrupted."
        "attempts": Shape::Whole(1, rowmill_domain::limits::ATTEMPTS_MAX), default "10" =>
            "Maximum number of attempts of a child. Only faults of the machine or a service cause a retry, never a bad record."
        "timeout": Shape::Duration, default "\"1h\"" =>
            "Time limit for one attempt of a child, at least 60 s."
        "table_writes": Shape::Whole(rowmill_domain::limits::NEW_TABLE_WRITES, rowmill_domain::limits::TABLE_WRITES_MAX), default "4000" =>
            "The most writes per second for which the table of the run's outcomes is prepared. 4,000 are free and enough for nearly all runs: a table that is written faster scales by itself while children retry. AWS charges those above 4,000 for each run that needs them; `rowmill plan` shows how much."
    },
};
