//! A page of HTML: parsed, and its texts.

use html5ever::driver::{ParseOpts, parse_document};
use html5ever::tendril::TendrilSink;
use scraper::{ElementRef, Html, HtmlTreeSink};

/// How deep elements may stand in each other. The parser goes through all that are open at each
/// tag, so that a page of nothing but them would hold it for minutes. Source: twice as deep as
/// Chrome lets them stand, which no page for people reaches.
const DEPTH_MAX: usize = 1024;
/// Bytes of a page between two looks at how deep it is.
const PART: usize = 4096;

/// Elements that are not shown.
const HIDDEN: &[&str] = &["noscript", "script", "style", "template"];
/// Elements that stand on lines or in cells of their own, and the line break.
#[rustfmt::skip]
const APART: &[&str] = &[
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "details",
    "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "legend", "li", "main", "menu", "nav", "ol",
    "optgroup", "option", "p", "pre", "search", "section", "summary", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
];

/// The page's tree, or why it has none.
pub(super) fn parse(text: &str) -> Result<Html, String> {
    let sink = HtmlTreeSink::new(Html::new_document());
    let mut parser = parse_document(sink, ParseOpts::default());
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(PART));
        parser.process(part.into());
        if is_too_deep(&parser.tokenizer.sink.sink.0.borrow()) {
            return Err(format!(
                "the page's elements stand in each other more than {DEPTH_MAX} deep; it is not read"
            ));
        }
        rest = after;
    }
    Ok(parser.finish())
}

/// Whether the element that came last is.
fn is_too_deep(page: &Html) -> bool {
    let mut nodes = page.tree.nodes().rev().take(PART);
    let last = nodes.find(|node| node.value().is_element());
    last.is_some_and(|element| element.ancestors().nth(DEPTH_MAX).is_some())
}

/// An element's text as a reader sees it: what stands on different lines or in different cells
/// stays apart, runs of white space are one space, and what is not shown is left out.
pub(super) fn words(element: ElementRef<'_>) -> String {
    let mut text = String::new();
    // No recursion: between two looks at its depth a page may go deeper than the limit.
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
            let around = if APART.contains(&name) { " " } else { "" };
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
        words(found.unwrap())
    }

    #[test]
    fn what_a_reader_sees_apart_stays_apart() {
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
    fn what_is_not_shown_is_left_out_unless_it_is_asked_for() {
        let html = "<div>Due<script>var due = 3</script><style>p {}</style><!-- c -->\
                    <template><p>x</p></template><noscript>No script</noscript> 812.50</div>";
        assert_eq!(text(html, "div"), "Due 812.50");
        assert_eq!(text(html, "script"), "var due = 3");
        let title = "<title>A page</title><p>x";
        assert_eq!(text(title, "title"), "A page");
    }

    #[test]
    fn a_page_in_parts_is_the_same_page() {
        let rows: String = (0..2000)
            .map(|n| format!("<p>é{n}&amp;<b>ü</b>\r\n"))
            .collect();
        let page = parse(&rows).unwrap();
        assert_eq!(page.tree, Html::parse_document(&rows).tree);
    }

    #[test]
    fn a_page_that_is_too_deep_is_refused_at_once() {
        let begun = std::time::Instant::now();
        for tag in ["<div>", "<b>", "<table><tr><td>", "<x-y>"] {
            let told = parse(&tag.repeat(200_000)).unwrap_err();
            assert!(told.contains("more than 1024 deep"), "{tag}: {told}");
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        // Elements that end by themselves, or side by side, are not deep.
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
