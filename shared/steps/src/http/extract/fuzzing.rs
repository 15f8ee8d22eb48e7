//! What the fuzz targets in `shared/steps/fuzz` call. Built only for them.

use rowmill_pipeline::Extract;

use super::*;

/// Selectors that move through a page in every way.
const SELECTORS: [&str; 8] = [
    "a",
    "p ~ td",
    "b + i",
    "tr:nth-child(2n + 1) > td",
    "div :not(b) *",
    "[href]:empty",
    "li:has(a):last-of-type",
    "dc\\:creator",
];
/// Paths of every kind.
const PATHS: [&str; 8] = [
    "$.a",
    "$..a",
    "$[*].a[-1]",
    "$[1:3]",
    "$[?@.a > 1]",
    "$[?@.a == $.b || !@.c].a",
    "$.a['b'].c",
    "$..[?length(@.a) > 1]",
];

/// Reads elements, attributes and addresses from a page, as HTML or as XML.
pub fn page(is_xml: bool, body: &[u8]) {
    let media = if is_xml { "text/xml" } else { "text/html" };
    let selectors = SELECTORS.iter().flat_map(|selector| {
        let attribute = Extract::CssAttribute {
            selector: (*selector).to_owned(),
            attribute: "href".to_owned(),
        };
        [Extract::CssAll((*selector).to_owned()), attribute]
    });
    read(&outputs(selectors), &HttpResponse::of(body, media));
}

/// Reads values from JSON. What a path selects does not depend on which other parts are kept.
///
/// # Panics
/// It does.
pub fn json(body: &[u8]) {
    let response = HttpResponse::of(body, "application/json");
    let paths = PATHS.map(|path| Extract::JsonAll(path.to_owned()));
    let everything = Extract::JsonAll("$".to_owned());
    let all = read(
        &outputs(paths.iter().cloned().chain([everything])),
        &response,
    );
    for (path, of_all) in paths.into_iter().zip(all) {
        let alone = read(&outputs([path.clone()]), &response);
        // Without the rest, fewer steps and less memory are needed.
        if let (Ok(of_all), Some(Ok(alone))) = (of_all, alone.into_iter().next()) {
            assert_eq!(of_all, alone, "{path:?}");
        }
    }
}

fn outputs(from: impl IntoIterator<Item = Extract>) -> Vec<HttpOutput> {
    let output = |(at, from)| HttpOutput {
        name: format!("output {at}"),
        absolute: matches!(from, Extract::CssAttribute { .. }),
        from,
        kind: None,
        optional: true,
    };
    from.into_iter().enumerate().map(output).collect()
}

/// The texts of each output.
fn read(outputs: &[HttpOutput], response: &HttpResponse) -> Vec<Result<Vec<String>, String>> {
    let Ok(extractor) = Extractor::new(outputs) else {
        unreachable!("the expressions are constants");
    };
    let mut body = ParsedBody::new(response, &extractor.outputs);
    let found = extractor.outputs.iter().map(|output| {
        output.found(&mut body).map(|found| match found {
            Found::One(value) => value.iter().map(Value::to_text).collect(),
            Found::All(texts) => texts,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed inputs of the targets, and parts of them in other orders.
    #[test]
    fn the_corpus_and_its_mutations_are_read() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut seeds = Vec::new();
        for target in ["page", "json"] {
            for entry in std::fs::read_dir(corpus.join(target)).unwrap() {
                seeds.push(std::fs::read(entry.unwrap().path()).unwrap());
            }
        }
        let all = |bytes: &[u8]| {
            page(false, bytes);
            page(true, bytes);
            json(bytes);
        };
        let mut state = 1_usize;
        let mut dice = |sides: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides.max(1)
        };
        for seed in &seeds {
            all(seed);
        }
        for _ in 0..300 {
            let mut bytes = Vec::new();
            for _ in 0..=dice(4) {
                let seed = &seeds[dice(seeds.len())];
                let start = dice(seed.len());
                bytes.extend_from_slice(&seed[start..start + dice(seed.len() - start + 1)]);
                if dice(3) == 0 {
                    bytes.push(dice(256) as u8);
                }
            }
            all(&bytes);
        }
    }
}
