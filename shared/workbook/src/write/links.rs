//! Hyperlinks of result cells.

use rowmill_domain::limits::SHEET_LINKS;
use url::{Host, Url};

/// Maximum length of a link target in bytes. Excel allows 2,083 characters ("Excel specifications and
/// limits"), of which rust_xlsxwriter supports 2,080 in a fragment.
const ADDRESS_MAX: usize = 2_080;

/// A cell with a link. Row and column are from 0.
pub(super) struct Link {
    pub(super) row: u32,
    pub(super) column: u16,
    /// The address as a browser writes it.
    address: String,
}

/// The start of a placeholder. No address that becomes a link starts like this, and with five digits
/// it is as short as the shortest address, so that the limits of rust_xlsxwriter hold.
pub(super) const PLACEHOLDER: &str = "l://";

impl Link {
    /// The address without its fragment, which a sheet stores separately.
    pub(super) fn target(&self) -> &str {
        match self.fragment() {
            "" => &self.address,
            fragment => &self.address[..self.address.len() - fragment.len() - 1],
        }
    }

    /// The fragment, without `#`.
    fn fragment(&self) -> &str {
        self.address
            .split_once('#')
            .map_or("", |(_, fragment)| fragment)
    }

    /// What rust_xlsxwriter gets as the address of link `n`. It would escape the address again:
    /// `%C3` becomes `%25C3`, and `[::1]` becomes `%5b::1%5d`. [`super::package`] writes the target.
    pub(super) fn placeholder(&self, n: usize) -> String {
        match self.fragment() {
            "" => format!("{PLACEHOLDER}{n}"),
            fragment => format!("{PLACEHOLDER}{n}#{fragment}"),
        }
    }
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
    (address.len() <= ADDRESS_MAX && is_uri(&url)).then(|| address.to_owned())
}

/// Whether the URL is also a URI (RFC 3986). Browsers open more than that, but Excel and .NET reject a
/// whole workbook because of one target that they cannot parse. `[` and `]` are common in queries, and
/// accepted there.
fn is_uri(url: &Url) -> bool {
    let query_and_fragment = [url.query(), url.fragment()];
    let rest = query_and_fragment.into_iter().flatten();
    rest.into_iter().all(|part| has_only(part, b"/?[]"))
        && if url.scheme() == "mailto" {
            url.path().split(',').all(is_mailbox)
        } else {
            url.host().is_some_and(|host| is_host(&host))
                && has_only(url.username(), b"")
                && has_only(url.password().unwrap_or_default(), b"")
                && has_only(url.path(), b"/")
        }
}

/// Whether the text consists of the characters of a path segment (`pchar` in RFC 3986) and `more`.
fn has_only(text: &str, more: &[u8]) -> bool {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            _ if byte.is_ascii_alphanumeric() => after,
            _ if b"-._~!$&'()*+,;=:@".contains(byte) || more.contains(byte) => after,
            _ => return false,
        };
    }
    true
}

fn is_mailbox(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && has_only(local, b"") && !domain.contains('@') && is_domain(domain)
    })
}

fn is_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_domain(name),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    }
}

/// Whether the name consists of labels of letters, digits, `-` and `_` (RFC 1035, section 2.3.4, has
/// the lengths).
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.split('.').all(is_label)
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
            (
                "https://de.example/Z%C3%BCrich",
                Some("https://de.example/Z%C3%BCrich"),
            ),
            (
                "https://de.example/Zürich",
                Some("https://de.example/Z%C3%BCrich"),
            ),
            ("http://[::1]:8080/", Some("http://[::1]:8080/")),
            ("http://0x7f.1/", Some("http://127.0.0.1/")),
            ("http://a.example/?q[]=1", Some("http://a.example/?q[]=1")),
            ("http://a.example/#", Some("http://a.example/#")),
            ("http://a.example./", Some("http://a.example./")),
            (
                "mailto:a@b.example,c@d.example?subject=x%20y",
                Some("mailto:a@b.example,c@d.example?subject=x%20y"),
            ),
            // Not URIs.
            ("http://a.example/100%", None),
            ("http://a.example/?p=5%&q=1", None),
            ("http://a.example/%zz", None),
            ("http://a.example/a|b", None),
            ("http://a.example/[a]", None),
            ("http://a.example/?a\\b", None),
            ("http://a.example/#{a}", None),
            ("http://a.example/?q#r#s", None),
            ("http://a..example/", None),
            ("http://a*b.example/", None),
            ("mailto:", None),
            ("mailto:a", None),
            ("mailto:a@b@c.example", None),
            ("mailto:a b@c.example", None),
            ("mailto:@c.example", None),
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
    fn labels_of_a_host_have_1_to_63_characters() {
        let host = |n| format!("http://{}.example/", "a".repeat(n));
        assert!(address(&host(63)).is_some());
        assert_eq!(address(&host(64)), None);
        assert_eq!(address(&format!("http://{}a/", "a.".repeat(130))), None);
    }

    #[test]
    fn a_placeholder_is_never_longer_than_the_address() {
        for text in ["http://a/", "http://a/#x", "mailto:a@b", "mailto:a@b#x"] {
            let mut links = Links::default();
            assert!(links.add(0, 0, text), "{text}");
            let link = &links.list[0];
            let placeholder = link.placeholder(SHEET_LINKS as usize - 1);
            assert!(placeholder.len() <= text.len(), "{text}: {placeholder}");
        }
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
