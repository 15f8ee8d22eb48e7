//! A parser for robots.txt (RFC 9309). Rowmill has its own because error messages name the line
//! that disallows a URL.

use std::time::Duration;

use url::{Position, Url};

/// Bytes of a robots.txt that are parsed. Source: RFC 9309, section 2.5 (at least 500 KiB).
pub(super) const SIZE_MAX: usize = 500 * 1024;
/// Longest `Crawl-delay` that is honored.
const DELAY_MAX: Duration = Duration::from_secs(86_400);

/// The rules of a host's robots.txt for one agent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Robots {
    rules: Vec<Rule>,
    /// The minimum time between two requests.
    pub(super) delay: Option<Duration>,
}

#[derive(Debug, PartialEq)]
struct Rule {
    allow: bool,
    /// As [`normalize_rule`] returns it.
    pattern: String,
    written: String,
    line: usize,
}

impl Robots {
    /// Parses a robots.txt for the agent with this product token: the groups that name it, else the
    /// groups for all agents.
    pub(super) fn parse(text: &[u8], agent: &str) -> Robots {
        let text = String::from_utf8_lossy(cut(text));
        // A line ends with CR, LF or both.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let (mut own, mut all) = (Robots::default(), Robots::default());
        let mut named = false;
        // Which agents the current group applies to. Its first rule ends the list of agents.
        let (mut for_own, mut for_all, mut in_head) = (false, false, false);
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if !in_head {
                        (for_own, for_all, in_head) = (false, false, true);
                    }
                    for_all |= value == "*";
                    for_own |= token(value).eq_ignore_ascii_case(agent);
                    named |= for_own;
                }
                "allow" | "disallow" | "crawl-delay" => {
                    in_head = false;
                    for (robots, ours) in [(&mut own, for_own), (&mut all, for_all)] {
                        if ours {
                            robots.add(&key, value, at + 1);
                        }
                    }
                }
                _ => {}
            }
        }
        if named { own } else { all }
    }

    fn add(&mut self, key: &str, value: &str, line: usize) {
        if key == "crawl-delay" {
            let seconds = value.parse::<f64>().ok().filter(|s| *s > 0.0);
            let delay = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            self.delay = self.delay.max(delay.map(|d| d.min(DELAY_MAX)));
        } else if !value.is_empty() {
            let allow = key == "allow";
            self.rules.push(Rule {
                allow,
                pattern: normalize_rule(value),
                written: format!("{}: {value}", if allow { "Allow" } else { "Disallow" }),
                line,
            });
        }
    }

    /// The rule that disallows a URL, as written, and its line number. The longest matching rule
    /// decides; of two equally long rules, the one that allows.
    pub(super) fn disallows(&self, url: &Url) -> Option<(&str, usize)> {
        let target = normalize(&url[Position::BeforePath..Position::AfterQuery]);
        if target == "/robots.txt" {
            return None;
        }
        let matching = self.rules.iter().filter(|r| matches(&r.pattern, &target));
        let rule = matching.max_by_key(|r| (r.pattern.len(), r.allow))?;
        (!rule.allow).then_some((rule.written.as_str(), rule.line))
    }
}

/// The product token at the start of a user agent.
pub(super) fn token(agent: &str) -> &str {
    let end = agent.find(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_'));
    &agent[..end.unwrap_or(agent.len())]
}

/// The part of a robots.txt that is parsed: whole lines of up to [`SIZE_MAX`] bytes.
fn cut(text: &[u8]) -> &[u8] {
    let Some(start) = text.get(..SIZE_MAX).filter(|_| text.len() > SIZE_MAX) else {
        return text;
    };
    // The start of a rule would match more than the rule.
    let end = start.iter().rposition(|b| matches!(b, b'\n' | b'\r'));
    &start[..end.unwrap_or(0)]
}

/// Percent-encodes the pattern of a rule for comparison. In it, `*` and a final `$` are special;
/// encoded, they are literal (RFC 9309, sections 2.2.2 and 2.2.3).
fn normalize_rule(pattern: &str) -> String {
    let (pattern, end) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, "$"),
        None => (pattern, ""),
    };
    let parts: Vec<String> = pattern.split('*').map(normalize).collect();
    parts.join("*") + end
}

/// Percent-encodes a path and query for comparison: unreserved and most reserved characters are not
/// encoded unless they were (RFC 3986), all others are, with upper-case digits. So are `*` and `$`,
/// which are special in rules, and `'`, which the URLs of requests have encoded in a query only.
fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut at = 0;
    while at < bytes.len() {
        let (byte, length, encoded) = match (bytes[at], hex(at + 1), hex(at + 2)) {
            // Both are below 16.
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3, true),
            (byte, ..) => (byte, 1, false),
        };
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || (!encoded && b":/?#[]@!&()+,;=".contains(&byte)) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
        at += length;
    }
    normal
}

/// Whether a target matches a pattern, which is a prefix in which `*` matches any text and a final
/// `$` matches the end.
fn matches(pattern: &str, target: &str) -> bool {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = target.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return !whole || rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if whole && parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disallows<'a>(robots: &'a Robots, target: &str) -> Option<(&'a str, usize)> {
        robots.disallows(&Url::parse(&format!("https://a.example{target}")).unwrap())
    }

    /// The examples of RFC 9309, section 5, and of its section 2.2.2.
    #[test]
    fn rules_match_as_the_standard_says() {
        for (rules, target, disallowed) in [
            ("Disallow: /", "/", true),
            ("Disallow: /", "/robots.txt", false),
            ("Disallow:", "/x", false),
            ("Disallow: /fish", "/fish.html", true),
            ("Disallow: /fish", "/fishheads/yummy.html", true),
            ("Disallow: /fish", "/Fish.asp", false),
            ("Disallow: /fish", "/catfish", false),
            ("Disallow: /fish/", "/fish", false),
            ("Disallow: /*.php", "/folder/filename.php?parameters", true),
            ("Disallow: /*.php", "/windows.PHP", false),
            ("Disallow: /*.php$", "/filename.php", true),
            ("Disallow: /*.php$", "/filename.php?parameters", false),
            ("Disallow: /*.php$", "/filename.php/", false),
            ("Disallow: /fish*.php", "/fishheads/catfish.php?x", true),
            ("Disallow: /fish*.php", "/Fish.PHP", false),
            ("Disallow: /a$", "/a", true),
            ("Disallow: /a$", "/ab", false),
            ("Disallow: *a*b*", "/xaxbx", true),
            ("Disallow: /*a$", "/aba", true),
            ("Disallow: /x?q=", "/x?q=5", true),
            // The longest rule decides; of equally long rules, Allow wins.
            ("Allow: /p\nDisallow: /", "/page", false),
            ("Allow: /folder\nDisallow: /folder", "/folder/page", false),
            ("Disallow: /page\nAllow: /*.ph", "/page.php5", false),
            ("Allow: /page\nDisallow: /*.htm", "/page.htm", true),
            ("Allow: /$\nDisallow: /", "/", false),
            ("Allow: /$\nDisallow: /", "/page.htm", true),
            (
                "Allow: /example/page/\nDisallow: /example/page/disallowed.gif",
                "/example/page/disallowed.gif",
                true,
            ),
            // Percent-encoding is normalized.
            ("Disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", true),
            ("Disallow: /foo/bar/%e3%83%84", "/foo/bar/ツ", true),
            ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", true),
            ("Disallow: /a%2fb", "/a/b", false),
            // Characters that a URL has encoded.
            ("Disallow: /<a>", "/<a>", true),
            ("Disallow: /{a}\"`", "/{a}\"`", true),
            ("Disallow: /a b", "/a%20b", true),
            ("Disallow: /x?a='b'", "/x?a='b'", true),
            ("Disallow: /it's", "/it's", true),
            ("Disallow: /a|b^c", "/a|b^c", true),
            ("Disallow: /100%", "/100%", true),
            ("Disallow: /100%25", "/100%25", true),
            // `*` and `$` are literal if they are encoded, and `$` also within a rule.
            (
                "Disallow: /file-with-a-%2A.html",
                "/file-with-a-*.html",
                true,
            ),
            (
                "Disallow: /file-with-a-%2A.html",
                "/file-with-a-%2a.html",
                true,
            ),
            (
                "Disallow: /file-with-a-%2A.html",
                "/file-with-a-x.html",
                false,
            ),
            ("Disallow: /foo-%24", "/foo-$", true),
            ("Disallow: /foo-%24", "/foo-", false),
            ("Disallow: /foo-%24", "/foo-$/bar", true),
            ("Disallow: /foo-%24$", "/foo-$/bar", false),
            ("Disallow: /a$b", "/a$bc", true),
            ("Disallow: /*$b", "/x$b", true),
        ] {
            let robots = Robots::parse(format!("User-agent: *\n{rules}").as_bytes(), "Rowmill");
            assert_eq!(
                disallows(&robots, target).is_some(),
                disallowed,
                "{rules}: {target}"
            );
        }
    }

    #[test]
    fn the_groups_that_name_the_agent_take_precedence_over_the_groups_for_all() {
        let text = b"\xef\xbb\xbf# a comment\r\nUSER-AGENT : *\r\nDisallow: /all # why\r\nCrawl-delay: 2\r\n\r\n\
            User-agent: Other\nUser-agent: rowMill/2.0\nDisallow: /ours\nSitemap: https://a.example/s\nDisallow: /more\n\
            User-agent: rowmillbot\nDisallow: /bot\n\
            User-agent: Rowmill\nCrawl-delay: 0.5\nnonsense\n";
        let own = Robots::parse(text, "Rowmill");
        assert_eq!(disallows(&own, "/ours/x"), Some(("Disallow: /ours", 8)));
        assert_eq!(disallows(&own, "/more"), Some(("Disallow: /more", 10)));
        assert_eq!(disallows(&own, "/all"), None);
        assert_eq!(disallows(&own, "/bot"), None);
        assert_eq!(own.delay, Some(Duration::from_millis(500)));
        let all = Robots::parse(text, "Other2");
        assert_eq!(disallows(&all, "/all"), Some(("Disallow: /all", 3)));
        assert_eq!(disallows(&all, "/ours"), None);
        assert_eq!(all.delay, Some(Duration::from_secs(2)));
        // A group that names the agent applies even if it disallows nothing.
        let free = Robots::parse(
            b"User-agent: *\nDisallow: /\nUser-agent: Rowmill\nDisallow:\n",
            "Rowmill",
        );
        assert_eq!(disallows(&free, "/x"), None);
        assert_eq!(token("Rowmill/0.1 (+https://x)"), "Rowmill");
    }

    #[test]
    fn invalid_content_disallows_nothing() {
        for text in [
            &b""[..],
            b"<html>Disallow: /</html>",
            b"\xff\xfe: :\n:",
            b"{\"due\": 5}",
        ] {
            assert_eq!(Robots::parse(text, "Rowmill"), Robots::default());
        }
        let delays = "User-agent: *\nCrawl-delay: -1\nCrawl-delay: inf\nCrawl-delay: x";
        assert_eq!(Robots::parse(delays.as_bytes(), "Rowmill").delay, None);
    }

    #[test]
    fn whole_lines_of_the_first_500_kib_are_parsed() {
        let mut long = b"User-agent: *\nDisallow: /a\n".to_vec();
        long.resize(SIZE_MAX - 7, b'\n');
        long.extend(b"\nDisallow: /private\n");
        let robots = Robots::parse(&long, "Rowmill");
        assert!(disallows(&robots, "/a").is_some());
        // Cut off in the middle, it would be `Disallow: /`.
        assert_eq!(robots.rules.len(), 1);
        assert_eq!(
            Robots::parse(&vec![b'x'; SIZE_MAX + 1], "Rowmill"),
            Robots::default()
        );
    }

    #[test]
    fn lines_end_with_cr_lf_or_both() {
        for end in ["\n", "\r", "\r\n"] {
            let lines = [
                "User-agent: *",
                "Disallow: /a",
                "",
                "# x",
                "Disallow: /b",
                "",
            ];
            let robots = Robots::parse(lines.join(end).as_bytes(), "Rowmill");
            assert_eq!(disallows(&robots, "/a"), Some(("Disallow: /a", 2)));
            assert_eq!(disallows(&robots, "/b"), Some(("Disallow: /b", 5)));
            assert_eq!(disallows(&robots, "/c"), None);
        }
    }
}
