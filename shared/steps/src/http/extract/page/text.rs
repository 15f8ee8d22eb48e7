//! The text of an element.

use super::select::Element;
use super::tree::{Content, NodeId};

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
/// Bytes of text read in one step.
const STEP_BYTES: usize = 16;

/// Text with its white space collapsed.
#[derive(Default)]
struct Words {
    text: String,
    is_separated: bool,
}

impl Words {
    fn push(&mut self, text: &str) {
        self.is_separated |= text.starts_with(char::is_whitespace);
        for word in text.split_whitespace() {
            if self.is_separated && !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(word);
            self.is_separated = true;
        }
        self.is_separated = match text.chars().next_back() {
            Some(last) => last.is_whitespace(),
            None => self.is_separated,
        };
    }
}

impl Element<'_> {
    /// An element's text as a reader sees it: text on different lines or in different cells is
    /// separated, white space is collapsed, and hidden elements are left out. It is not complete if the
    /// budget is spent.
    pub(in super::super) fn visible_text(&self) -> String {
        let tree = self.tree();
        let mut words = Words::default();
        let mut at = tree.node(self.id()).first;
        'nodes: while let Some(id) = at {
            let node = tree.node(id);
            let mut inner = None;
            let mut steps = 1;
            match node.content {
                Content::Text(span) => {
                    let text = tree.text(span);
                    steps += text.len() / STEP_BYTES;
                    words.push(text);
                }
                Content::Element(..) if self.is_xml() => {
                    words.is_separated |= !self.has_text(node.previous);
                    inner = node.first;
                }
                Content::Element(name, _) => {
                    let name = &*tree.name(name).local;
                    words.is_separated |= SEPARATE.contains(&name);
                    inner = node.first.filter(|_| !HIDDEN.contains(&name));
                }
                Content::Document | Content::Template => {}
            }
            if !self.budget().spend(steps) {
                break;
            }
            at = inner.or(node.next);
            let mut last = id;
            while at.is_none() {
                // The end of the element around.
                match tree.node(last).parent {
                    Some(parent) if parent != self.id() => last = parent,
                    _ => break 'nodes,
                }
                let around = tree.node(last);
                if self.is_xml() {
                    words.is_separated |= !self.has_text(around.next);
                } else if let Content::Element(name, _) = around.content {
                    words.is_separated |= SEPARATE.contains(&&*tree.name(name).local);
                }
                at = around.next;
            }
        }
        words.text
    }

    /// Whether a node is a text that is not blank. In XML, elements next to it are parts of a text; all
    /// others are values of their own.
    fn has_text(&self, node: Option<NodeId>) -> bool {
        let Some(node) = node else { return false };
        match self.tree().node(node).content {
            Content::Text(span) => !self.tree().text(span).trim().is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::super::{Budget, Selector};

    fn text(html: &str, selector: &str) -> String {
        let page = parse(html).unwrap();
        let budget = Budget::unlimited();
        let selector = Selector::parse(selector).unwrap();
        let found = page.select(&selector, &budget).next();
        found.unwrap().visible_text()
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
            ("<b><p>a</p></b>b<i> c </i>d", "a b c d"),
            ("a<!-- b -->c<div></div>d", "ac d"),
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
        assert_eq!(text(html, "p"), "x");
        let title = "<title>A page</title><p>x";
        assert_eq!(text(title, "title"), "A page");
    }
}
