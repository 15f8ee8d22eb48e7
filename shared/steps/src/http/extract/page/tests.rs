use std::fmt::Write as _;
use std::time::{Duration, Instant};

use html5ever::tendril::TendrilSink;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::{ParseOpts, parse_document};
use proptest::prelude::*;
use scraper::{Html, HtmlTreeSink, Node};

use super::tree::{Content, NodeId};
use super::*;
use crate::cpu_time::cpu_time;

pub(super) fn parse(html: &str) -> Result<Page, PageError> {
    Page::parse(html, &Budget::unlimited())
}

/// A line for each element and text, indented by depth. Comments are left out, and texts that follow each
/// other are joined.
#[derive(Default)]
struct Outline {
    lines: String,
    text: String,
}

impl Outline {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn flush(&mut self, depth: usize) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            writeln!(self.lines, "{:depth$}{text:?}", "").unwrap();
        }
    }

    fn element(&mut self, depth: usize, name: &str, mut attributes: Vec<String>) {
        attributes.sort();
        writeln!(self.lines, "{:depth$}<{name} {attributes:?}>", "").unwrap();
    }

    fn of_page(&mut self, page: &Page, id: NodeId, depth: usize) {
        let mut at = page.tree.node(id).first;
        while let Some(child) = at {
            let node = page.tree.node(child);
            match node.content {
                Content::Text(span) => self.text(page.tree.text(span)),
                Content::Element(name, _) => {
                    self.flush(depth);
                    let attributes = page.tree.attributes(child);
                    let attributes = attributes.map(|(name, value)| format!("{name:?}={value:?}"));
                    let name = format!("{:?}", page.tree.name(name));
                    self.element(depth, &name, attributes.collect());
                    self.of_page(page, child, depth + 1);
                }
                Content::Template | Content::Document => self.of_page(page, child, depth),
            }
            at = node.next;
        }
        self.flush(depth);
    }

    fn of_reference(&mut self, node: ego_tree::NodeRef<'_, Node>, depth: usize) {
        for child in node.children() {
            match child.value() {
                Node::Text(text) => self.text(text),
                Node::Element(element) => {
                    self.flush(depth);
                    let attributes = element.attrs.iter();
                    let attributes =
                        attributes.map(|(name, value)| format!("{name:?}={:?}", &**value));
                    let name = format!("{:?}", &element.name);
                    self.element(depth, &name, attributes.collect());
                    self.of_reference(child, depth + 1);
                }
                Node::Fragment => self.of_reference(child, depth),
                _ => {}
            }
        }
        self.flush(depth);
    }
}

/// Compares a page with what html5ever and scraper make of it.
#[track_caller]
fn is_as_reference(html: &str) {
    let (mut page, mut reference) = (Outline::default(), Outline::default());
    page.of_page(&parse(html).unwrap(), NodeId::DOCUMENT, 0);
    reference.of_reference(parse_reference(html).tree.root(), 0);
    assert_eq!(page.lines, reference.lines, "{html:?}");
}

/// A byte order mark is dropped at the start only. html5ever drops one after each script, too.
fn parse_reference(html: &str) -> Html {
    let options = ParseOpts {
        tokenizer: TokenizerOpts {
            discard_bom: false,
            ..TokenizerOpts::default()
        },
        ..ParseOpts::default()
    };
    let parser = parse_document(HtmlTreeSink::new(Html::new_document()), options);
    parser.one(html.strip_prefix('\u{feff}').unwrap_or(html))
}

#[test]
fn pages_are_those_of_html5ever() {
    for html in [
        "",
        "text",
        "<!doctype html><html lang=en><head><title>A &amp; B</title><meta charset=utf-8></head><body class=x>\n<p>a<p>b</body></html>",
        "<p><table><tr><td>quirks",
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\"><p><table>",
        "<!DOCTYPE html PUBLIC '-//W3C//DTD HTML 3.2//EN'><p><table>",
        "<b>1<p>2</b>3</p>4<i>5<div>6</i>7</div>",
        "<a href=1>x<a href=2>y</a>z<p><a href=3>w<div>v",
        "<p><b class=x><b class=x><b class=x><b class=x><b id=y>1<p>2",
        "<font a=1 b=2><font b=2 a=1><font a=1 b=2><font a=1 b=2>x<p>y",
        "<table>a<tr>b<td>c<p>d</table>e<table><b>f<tr><td>g</table>h",
        "<table><caption>x<table><tr><td>y<caption>z",
        "<select><option>a<option>b<optgroup><option>c</select><select><input>",
        "<svg viewBox='0 0 1 1'><a xlink:href=x><font color=red>y</font><foreignObject><b id=q>z<p>w",
        "<svg><![CDATA[x<y>]]><title>t</title><b>out<![CDATA[no]]>",
        "<math><mi>x<annotation-xml encoding=text/html><p>y",
        "<template><tr><td>1<template><p>2</template></template><p>3",
        "<script>if (a<b) '</scr' + '<!-- <script>x</script> -->'</script>after<script>",
        "<style>p > a { }</style><textarea>\n a</b>&lt;</textarea><title></x></title><xmp><b></xmp>",
        "<noscript><p>x</noscript><iframe><p></iframe><noembed><b></noembed>",
        "<pre>\n\nx</pre><listing>\r\ny</listing>a\r\nb\rc",
        "\u{feff}\u{feff}<p>x",
        "<script></script>\u{feff}",
        "a\0b<p\0q\0=\0>\0</p\0><!--\0--><script>\0</script><svg>\0</svg><textarea>\0",
        "<body a=1><body a=2 b=3><html c=4><body b=5 d=6>",
        "<div a=1 A=2 a=3 b b=4 =x ='y\"z>t</div a=1/>",
        "<p title=a&ampb title2='&notit;&not;' title3=\"&#x80;&#0;&#xD800;&#x110000;&amp\">&ampx&nGt;&zz;",
        "<!-- a --!>b<!-->c<!--->d<!x>e<?php f ?>g</ h>i<!doctype>j<!---->k<!--l",
        "<frameset><frame><noframes>x</noframes></frameset>",
        "<p><frameset><frame>",
        "<form><p><form><input></form></p><button><button>x",
        "<h1>a<h2>b</h1>c<li>d<li>e<dd>f<dt>g<ruby>h<rt>i<rp>j",
        "<image src=x><isindex><nobr>a<nobr>b<br></br></p>x<hr>",
        "<plaintext>a</plaintext><b>",
        "a</html>b<!-- c --></body>d<p>e",
        "<colgroup> x<col><table><colgroup> <col>y",
        "<object><p>x</object><marquee><b>y</marquee>z<applet><i>w</applet>v",
        "<x-y Z=1>é<ünï>日本</x-y>",
    ] {
        is_as_reference(html);
    }
}

/// Pages as they are: a template, rows and links, with a few mistakes.
fn generated(rows: usize) -> String {
    let mut html = String::from(
        "<!DOCTYPE html><html lang=de><head><title>Liste &ndash; Ergebnisse</title>\
         <style>td > a { color: red }</style><script>if (1<2) document.write('<p>')</script></head>\
         <body class='page list'><nav><ul><li><a href=/>Start</a><li><a href=/x>X</a></ul></nav><main>",
    );
    for n in 0..rows {
        writeln!(
            html,
            "<!-- {n} --><div class='row r{}' id=r{n} data-n=\"{n}\"><h3><a href='/p/{n}?a=1&amp;b=2'>Haus &Nr. {n}</a></h3>\
             <table><tr><td><b>Preis</b>:<td>{n}.50&nbsp;€<tr><td>Größe<td><i>{n} m²</table><p>Text <b>fett<p>weiter</b> ohne<br>Umbruch</div>",
            n % 3
        )
        .unwrap();
    }
    html + "</main></body></html>"
}

#[test]
fn generated_pages_are_those_of_html5ever() {
    is_as_reference(&generated(300));
}

#[test]
fn elements_are_those_of_scraper() {
    let html = generated(40);
    let (page, reference) = (parse(&html).unwrap(), Html::parse_document(&html));
    for selector in [
        "*",
        "p",
        "div.row > h3 a",
        "#r7 td + td",
        "tr:first-child td:nth-child(2)",
        "td:last-child, td:only-child",
        "div:has(td > i) h3",
        "div:not(.r1) ~ .r1",
        "div:nth-of-type(3n+1)",
        "a[href*='/p/']:is(h3 *)",
        "[data-n='7' i] b",
        "div.r0:nth-last-child(2)",
        "body > :where(nav, main)",
        ":root > *",
        "br:empty",
        "li:has(+ li)",
        "html:lang(de)",
    ] {
        let (ours, theirs) = (
            Selector::parse(selector),
            scraper::Selector::parse(selector),
        );
        let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
            assert_eq!(ours.is_err(), theirs.is_err(), "{selector}");
            continue;
        };
        let budget = Budget::unlimited();
        let names = ["class", "id", "href", "data-n"];
        let found = page.select(ours, &budget);
        let mut found: Vec<_> = found
            .map(|element| names.map(|name| element.attribute(&name.into())))
            .collect();
        let expected = reference.select(theirs);
        let mut expected: Vec<_> = expected
            .map(|element| names.map(|name| element.attr(name)))
            .collect();
        // Clones are created later than their place in the document.
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{selector}");
    }
}

#[test]
fn elements_are_found_in_document_order() {
    let page = parse("<table><tr><td>c</td></tr><i>a</i><i>b</i></table>").unwrap();
    let (selector, budget) = (Selector::parse("i, td").unwrap(), Budget::unlimited());
    let found = page.select(&selector, &budget);
    let texts: Vec<String> = found.map(|element| element.visible_text()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
}

/// Markup that the tree builder treats specially.
fn markup() -> impl Strategy<Value = String> {
    let tags = prop::sample::select(vec![
        "a",
        "b",
        "i",
        "font",
        "nobr",
        "p",
        "div",
        "li",
        "ul",
        "h1",
        "table",
        "tr",
        "td",
        "tbody",
        "caption",
        "col",
        "colgroup",
        "select",
        "option",
        "form",
        "button",
        "input",
        "br",
        "svg",
        "math",
        "mi",
        "desc",
        "foreignObject",
        "annotation-xml",
        "template",
        "script",
        "style",
        "title",
        "textarea",
        "body",
        "html",
        "head",
        "frameset",
        "pre",
        "dd",
        "dt",
        "ruby",
        "rt",
        "object",
        "marquee",
        "noscript",
        "x-y",
        "image",
        "plaintext",
        "hr",
        "iframe",
    ]);
    let attributes = prop::sample::select(vec![
        "",
        " a",
        " a=1",
        " b=2 a=1",
        " a=1 b=2",
        " class='x y'",
        " A=2 a=3",
        " type=hidden",
        " color=red",
        "/",
        " encoding=text/html",
        " xlink:href=u",
    ]);
    let part = prop_oneof![
        6 => (tags.clone(), attributes).prop_map(|(tag, attributes)| format!("<{tag}{attributes}>")),
        4 => tags.prop_map(|tag| format!("</{tag}>")),
        2 => prop::sample::select(vec![
            "x", " ", "\n", "é\r\n", "&amp;", "&lt", "&#0;", "\0", "<!-- c -->", "<!doctype html>", "<![CDATA[d]]>", "<", "</", "<!", "-->", "'", "\"", ">", "\u{feff}",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_page_is_that_of_html5ever(html in markup()) {
        is_as_reference(&html);
    }
}

#[test]
fn a_page_nested_too_deeply_is_rejected() {
    for tag in ["<div>", "<b>", "<table><tr><td>", "<x-y>", "<b a=1><i b=2>"] {
        let Err(PageError::Refused(error)) = parse(&tag.repeat(20_000)) else {
            panic!("{tag}")
        };
        assert!(
            error.contains("more than 1024 levels deep"),
            "{tag}: {error}"
        );
    }
    // Elements that close themselves, or stand side by side, are not nested.
    for (start, tag) in [
        ("<ul>", "<li>x"),
        ("", "<p>x"),
        ("", "<div></div>"),
        ("<table><tr>", "<td><font size=2>x</td>"),
    ] {
        let page = start.to_owned() + &tag.repeat(5000);
        assert!(parse(&page).is_ok(), "{tag}");
    }
    assert!(parse(&"<div>".repeat(500)).is_ok());
}

/// Pages of this size whose markup asks for far more work or memory than others.
fn hostile(size: usize) -> Vec<(&'static str, String)> {
    let fill = |start: String, part: &dyn Fn(usize) -> String| {
        let mut html = start;
        let mut n = 0;
        while html.len() < size {
            html += &part(n);
            n += 1;
        }
        html
    };
    let repeat = |start: &str, part: &'static str| fill(start.to_owned(), &|_| part.to_owned());
    let attributes = |start: &str, count: usize| {
        let names: String = (0..count).map(|n| format!(" a{n}")).collect();
        format!("{start}{names}>")
    };
    let half = size / 16;
    vec![
        (
            "attributes",
            fill("<v>1</v><div".into(), &|n| format!(" a{n}")),
        ),
        ("one attribute", repeat("<div", " a=1")),
        (
            "attributes of clones",
            fill(attributes("<p><b", 1000), &|_| "<p>x".into()),
        ),
        (
            "more attributes of clones",
            fill(attributes("<p><b", half), &|_| "<p>x".into()),
        ),
        (
            "attributes of clones in SVG",
            fill(attributes("<svg><desc><b", 1000), &|_| "<p>x".into()),
        ),
        (
            "formatting elements",
            fill("<p>".into(), &|n| format!("<b a{n}>")),
        ),
        (
            "formatting elements with attributes",
            fill(String::new(), &|n| attributes(&format!("<p><i b{n}"), 100)),
        ),
        (
            "clones",
            fill(
                "<b><i><u><s><a><em><big><tt><code><font><small><strong>".repeat(3),
                &|_| "<p>x".into(),
            ),
        ),
        (
            "hundreds of clones",
            fill((0..900).map(|n| format!("<b a{n}>")).collect(), &|_| {
                "<p>x".into()
            }),
        ),
        (
            "classes of clones",
            fill(
                format!("<b class='{}'>", "a bc d ".repeat(half / 7)),
                &|_| "<p>x".into(),
            ),
        ),
        ("misnested links", repeat("", "<a><p>x")),
        ("misnested blocks", repeat("", "<b><div><i><p></b></i>")),
        (
            "misnested at once",
            fill("<b><p>".repeat(400), &|_| "</b>".into()),
        ),
        ("nested", repeat("", "<div>")),
        ("unclosed tables", repeat("", "<table><td>")),
        (
            "table with misplaced elements",
            repeat("<table>", "<p>x<tr>y"),
        ),
        (
            "table with misplaced formatting",
            repeat("<table>", "<b>x<tr>"),
        ),
        ("paragraphs", repeat("", "<p>")),
        (
            "rules in a deep element",
            fill("<div>".repeat(900), &|_| "<hr>".into()),
        ),
        (
            "end tags in a deep element",
            fill("<x>".repeat(900), &|_| "</y>".into()),
        ),
        (
            "attributes of body",
            fill(String::new(), &|n| format!("<body a{n}>")),
        ),
        ("a long value", repeat("<v>1</v><div title='", "x y ")),
        ("entities", repeat("<p>", "&nGt;&#x1F600;&notit")),
        ("comments", repeat("", "x<!---->")),
        ("bogus comments", repeat("", "<!><?>")),
        ("NUL", repeat("<svg>", "\0x")),
        ("options", repeat("<select>", "<option><optgroup>")),
        ("templates", repeat("", "<template>")),
        ("scripts", repeat("", "<script></script>")),
        ("unclosed script", repeat("<script>", "<!--<script")),
        ("names", fill(String::new(), &|n| format!("<x{n}0000000/>"))),
        ("forms", repeat("", "<form><button>")),
        ("foreign elements", repeat("", "<svg><desc><math><mi>")),
    ]
}

#[test]
fn work_for_hostile_pages_is_limited() {
    for (name, html) in hostile(100_000) {
        let (begun, until) = (cpu_time(), Instant::now() + Duration::from_secs(3600));
        let budget = Budget::of(html.len(), until);
        let page = Page::parse(&html, &budget);
        if let Ok(page) = &page {
            for selector in ["v", "p i b", "p ~ p ~ b", ".x .y"] {
                let selector = Selector::parse(selector).unwrap();
                let budget = Budget::of(html.len(), until);
                for element in page.select(&selector, &budget) {
                    element.visible_text();
                }
            }
        }
        // Without limits, some of them take minutes.
        let took = cpu_time() - begun;
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        if html.starts_with("<v>") {
            assert!(page.is_ok(), "{name}: {:?}", page.err());
        }
    }
}

#[test]
fn selectors_that_look_at_all_elements_are_limited() {
    let page = parse(&("<v>1</v>".to_owned() + &"<p><i>x</i>".repeat(20_000))).unwrap();
    for text in [
        "b ~ p",
        "v ~ b ~ p",
        "i ~ p ~ p",
        "p:has(~ b)",
        "p:not(p ~ v):is(b ~ p)",
        "v:has(~ p b) ~ p, b ~ p",
    ] {
        let selector = Selector::parse(text).unwrap();
        let budget = Budget::of(0, Instant::now() + Duration::from_secs(3600));
        assert_eq!(page.select(&selector, &budget).count(), 0, "{text}");
        assert_eq!(budget.check(), Err(Spent::Steps), "{text}");
    }
    let budget = Budget::of(0, Instant::now());
    let selector = Selector::parse("p").unwrap();
    assert_eq!(page.select(&selector, &budget).count(), 0);
    assert_eq!(budget.check(), Err(Spent::Time));
}

#[test]
fn usual_pages_need_a_small_part_of_their_budget() {
    let html = generated(1000);
    let all = Budget::unlimited();
    let before = all.left();
    let page = Page::parse(&html, &all).unwrap();
    let per_byte = (before - all.left()) as usize / html.len();
    assert!(per_byte < 8, "{per_byte}");
    assert!(page.tree.bytes() < 6 * html.len(), "{}", page.tree.bytes());
}

/// The peak memory of this process in MiB.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        / 1024
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by memory_for_hostile_pages_is_limited, in a process of its own"]
fn peak_memory_of_hostile_pages() {
    let mut before = peak();
    for (name, html) in hostile(160_000) {
        let budget = Budget::of(html.len(), Instant::now() + Duration::from_secs(3600));
        let is_ok = Page::parse(&html, &budget).is_ok();
        let after = peak();
        // The kernel counts per thread and adds up late, so the peak can seem to fall.
        println!("{name}: {is_ok}, {} MiB more", after.saturating_sub(before));
        before = after;
    }
    println!("peak {before}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_for_hostile_pages_is_limited() {
    let test = "http::extract::page::tests::peak_memory_of_hostile_pages";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    let peak = output.lines().find_map(|line| line.strip_prefix("peak "));
    let peak: usize = peak.unwrap_or_else(|| panic!("{output}")).parse().unwrap();
    // Without limits, the attributes of clones alone take 1.5 GB.
    assert!(peak < 100, "{output}");
}
