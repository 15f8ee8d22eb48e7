//! Links of a result's cells, where the pipeline asks for them.

use rowmill_domain::limits::SHEET_LINKS;
use url::Url;

/// The longest address that Excel follows ("Excel specifications and limits": 2,083 characters, of
/// which rust_xlsxwriter takes 2,080), in bytes of the address as it is written.
const ADDRESS_MAX: usize = 2_080;

/// A cell that leads somewhere; row and column from 0.
pub(super) struct Link {
    pub(super) row: u32,
    pub(super) column: u16,
    pub(super) address: String,
}

/// The links of a sheet.
#[derive(Default)]
pub(super) struct Links {
    pub(super) list: Vec<Link>,
    /// Addresses that stayed texts, since a sheet takes no more.
    pub(super) beyond: u64,
}

impl Links {
    /// Takes a cell, where it holds an address that a reader of the workbook can follow and the
    /// sheet takes one more.
    pub(super) fn take(&mut self, row: u32, column: usize, text: &str) -> bool {
        let (Some(address), Ok(column)) = (address(text), u16::try_from(column)) else {
            return false;
        };
        if self.list.len() >= SHEET_LINKS as usize {
            self.beyond += 1;
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

/// Where a text leads: to the web, or to a mailbox. Nothing else, since what a click opens may come
/// from a stranger's page: no file, no share, no program of its own.
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
    fn what_can_be_followed() {
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
    fn a_sheet_takes_so_many() {
        let mut links = Links::default();
        let text = "http://a.example/";
        for row in 0..SHEET_LINKS {
            assert!(links.take(row, 0, text));
        }
        assert!(!links.take(SHEET_LINKS, 0, text));
        assert!(!links.take(SHEET_LINKS, 0, "no address"));
        assert_eq!((links.list.len(), links.beyond), (65_530, 1));
    }
}
