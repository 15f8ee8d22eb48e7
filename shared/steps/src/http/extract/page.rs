//! Parses an HTML page and reads the text of its elements.

use html5ever::driver::{ParseOpts, parse_document};
use html5ever::tendril::TendrilSink;
use scraper::{ElementRef, Html, HtmlTreeSink};

/// How deep elements may be nested. The parser visits all open elements at each tag, so a malicious
/// page could keep it busy for minutes. Source: twice the limit of Chrome.
const DEPTH_MAX: usize = 1024;
/// Bytes of a page parsed between two depth checks.
const CHUNK: usize = 4096;

/// Elements that browsers do not show.
const HIDDEN: &[&str] = &["noscript", "script", "style", "template"];
/// Elements that start a new line or cell, and the line break.
#[rustfmt::skip]
const SEPARATE: &[&str] = &[
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "details",
    "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "legend", "li", "main", "menu", "nav", "ol",
    "optgroup", "option", "p", "pre", "search", "section", "summary", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
];

/// Parses a page.
///
/// # Errors
/// Its elements are nested too deeply.
pub(super) fn parse(text: &str) -> Result<Html, String> {
    let sink = HtmlTreeSink::new(Html::new_document());
    let mut parser = parse_document(sink, ParseOpts::default());
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(CHUNK));
        parser.process(part.into());
        if is_too_deep(&parser.tokenizer.sink.sink.0.borrow()) {
            return Err(format!(
                "the page is not read: its elements are nested more than {DEPTH_MAX} levels deep"
            ));
        }
        rest = after;
    }
    Ok(parser.finish())
}

/// Whether the last element is nested too deeply.
fn is_too_deep(page: &Html) -> bool {
    let mut nodes = page.tree.nodes().rev().take(CHUNK);
    let last = nodes.find(|node| node.value().is_element());
    last.is_some_and(|element| element.ancestors().nth(DEPTH_MAX).is_some())
}

/// An element's text as a reader sees it: text on different lines or in different cells is
/// separated, white space is collapsed, and hidden elements are left out.
pub(super) fn visible_text(element: ElementRef<'_>) -> String {
    let mut text = String::new();
    // Not recursive: between two depth checks a page may exceed the limit.
    let mut open = vec![(element.children(), "")];
    while let Some((children, around)) = open.last_mut() {
        let Some(child) = children.next() else {
            text.push_str(around);
            open.pop();
            continue;
        };
        if let Some(part) = child.value().as_text() {
            text.push_str(part);
        }
        let Some(child) = ElementRef::wrap(child) else {
            continue;
        };
        let name = child.value().name();
        if !HIDDEN.contains(&name) {
            let around = if SEPARATE.contains(&name) { " " } else { "" };
            text.push_str(around);
            open.push((child.children(), around));
        }
    }
    let mut words = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use scraper::Selector;

    use super::*;

    fn text(html: &str, selector: &str) -> String {
        let page = parse(html).unwrap();
        let found = page.select(&Selector::parse(selector).unwrap()).next();
        visible_text(found.unwrap())
    }

    #[test]
    fn text_of_separate_lines_and_cells_is_separated() {
        for (html, expected) in [
            (
                "12 Main St<br>Springfield<br/>IL",
                "12 Main St Springfield IL",
            ),
            ("<p>One<p>Two", "One Two"),
            ("<div>A</div><div>B<div>C</div>D</div>", "A B C D"),
            ("<ul><li>a<li>b</ul>c", "a b c"),
            ("<table><tr><td>1<td>2<tr><td>3</table>", "1 2 3"),
            ("<dl><dt>Due<dd>812.50</dl>", "Due 812.50"),
            (
                "EUR <b>8</b><i>12</i>.50, <span>net</span>!",
                "EUR 812.50, net!",
            ),
            ("un<wbr>breakable&nbsp;words ", "unbreakable words"),
        ] {
            assert_eq!(text(html, "body"), expected, "{html}");
        }
    }

    #[test]
    fn hidden_elements_are_left_out_unless_they_are_selected() {
        let html = "<div>Due<script>var due = 3</script><style>p {}</style><!-- c -->\
                    <template><p>x</p></template><noscript>No script</noscript> 812.50</div>";
        assert_eq!(text(html, "div"), "Due 812.50");
        assert_eq!(text(html, "script"), "var due = 3");
        let title = "<title>A page</title><p>x";
        assert_eq!(text(title, "title"), "A page");
    }

    #[test]
    fn parsing_in_chunks_gives_the_same_page() {
        let rows: String = (0..2000)
            .map(|n| format!("<p>é{n}&amp;<b>ü</b>\r\n"))
            .collect();
        let page = parse(&rows).unwrap();
        assert_eq!(page.tree, Html::parse_document(&rows).tree);
    }

    #[test]
    fn a_page_nested_too_deeply_is_rejected_quickly() {
        let begun = std::time::Instant::now();
        for tag in ["<div>", "<b>", "<table><tr><td>", "<x-y>"] {
            let error = parse(&tag.repeat(200_000)).unwrap_err();
            assert!(
                error.contains("more than 1024 levels deep"),
                "{tag}: {error}"
            );
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
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
}
