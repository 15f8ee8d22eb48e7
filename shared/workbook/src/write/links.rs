//! Hyperlinks of result cells.

use rowmill_domain::limits::SHEET_LINKS;
use url::Url;

/// Maximum length of a link target in bytes. Excel allows 2,083 characters ("Excel specifications and
/// limits"), of which rust_xlsxwriter supports 2,080.
const ADDRESS_MAX: usize = 2_080;

/// A cell with a link. Row and column are from 0.
pub(super) struct Link {
    pub(super) row: u32,
    pub(super) column: u16,
    pub(super) address: String,
}

/// The links of a sheet.
#[derive(Default)]
pub(super) struct Links {
    pub(super) list: Vec<Link>,
    /// Addresses that stayed text, because a sheet cannot hold more links.
    pub(super) over_limit: u64,
}

impl Links {
    /// Adds a link if the text is an address and the sheet can hold one more. Returns whether it did.
    pub(super) fn add(&mut self, row: u32, column: usize, text: &str) -> bool {
        let (Some(address), Ok(column)) = (address(text), u16::try_from(column)) else {
            return false;
        };
        if self.list.len() >= SHEET_LINKS as usize {
            self.over_limit += 1;
            return false;
        }
        self.list.push(Link {
            row,
            column,
            address,
        });
        true
    }
}

/// The link target of a text: a web page or a mailbox. Other targets, such as files, shares and custom
/// schemes, are not allowed, because the text may come from an untrusted page.
fn address(text: &str) -> Option<String> {
    let text = text.trim();
    let begins = |scheme: &str| {
        let start = text.as_bytes().get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    if !["http://", "https://", "mailto:"].into_iter().any(begins) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let address = url.as_str();
    (address.len() <= ADDRESS_MAX).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_and_mail_addresses_become_links() {
        for (text, expected) in [
            (
                "https://a.example/x?y=1#z",
                Some("https://a.example/x?y=1#z"),
            ),
            (" HTTP://A.example/a b ", Some("http://a.example/a%20b")),
            (
                "http://ä.example/<ü>",
                Some("http://xn--4ca.example/%3C%C3%BC%3E"),
            ),
            ("mailto:a@b.example", Some("mailto:a@b.example")),
            ("a.example", None),
            ("file:///etc/passwd", None),
            ("\\\\server\\share", None),
            ("javascript:alert(1)", None),
            ("internal:Sheet1!A1", None),
            ("https://", None),
            ("http:/", None),
            ("ööööööö", None),
            ("", None),
        ] {
            assert_eq!(address(text).as_deref(), expected, "{text}");
        }
        let long = |n| format!("http://a.example/{}", "x".repeat(n - 17));
        assert!(address(&long(ADDRESS_MAX)).is_some());
        assert_eq!(address(&long(ADDRESS_MAX + 1)), None);
    }

    #[test]
    fn links_beyond_the_limit_of_a_sheet_are_counted() {
        let mut links = Links::default();
        let text = "http://a.example/";
        for row in 0..SHEET_LINKS {
            assert!(links.add(row, 0, text));
        }
        assert!(!links.add(SHEET_LINKS, 0, text));
        assert!(!links.add(SHEET_LINKS, 0, "no address"));
        assert_eq!((links.list.len(), links.over_limit), (65_530, 1));
    }
}
