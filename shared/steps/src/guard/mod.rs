//! The address guard: prevents server-side request forgery (SSRF) through URLs made from cells.
//!
//! Two checks cover every request. [`Guard::check_url`] checks the URL of each hop before it is
//! sent: its scheme, and its host if that is an address (the `url` crate has already normalized
//! decimal, hexadecimal, octal and short forms of IPv4). [`Guard::resolver`] is the only way to
//! resolve a name: it looks the name up once, and the connection goes to one of the permitted
//! addresses it returns. There is no second look-up that could answer differently.

mod ranges;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

pub use ranges::refused_range;

/// An entry of `allow_hosts` that is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "allow_hosts: `{0}` is not a host; write a name or an address without scheme and port, for example \"tax.internal\" or \"10.1.2.3\""
)]
pub struct GuardError(pub String);

/// Why a URL was refused. The text is the reason in the record's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The scheme is neither http nor https.
    Scheme(String),
    /// The URL has no host.
    NoHost,
    /// The host is an address that is not public, or resolves only to such addresses.
    Address {
        /// The host as written in the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// The reserved range that contains the address.
        range: &'static str,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Scheme(scheme) => {
                write!(f, "refused: `{scheme}:` is neither http nor https")
            }
            Refused::NoHost => f.write_str("refused: the URL has no host"),
            Refused::Address {
                host,
                address,
                range,
            } => {
                write!(f, "refused: {host} ")?;
                if host.trim_matches(['[', ']']) != address.to_string() {
                    write!(f, "resolves to {address}, which ")?;
                }
                write!(
                    f,
                    "is not a public address ({range}); to allow it, add \"{}\" to the step's allow_hosts",
                    host.trim_matches(['[', ']'])
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Which hosts may be reached: all public addresses, and the hosts that the pipeline allows.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// As [`host_key`] returns them.
    allowed: HashSet<String>,
    /// The proxy's host. It may have any address, because only the pipeline can set it.
    proxy: Option<String>,
}

impl Guard {
    /// A guard that also allows these hosts (names or addresses, as in URLs) at any address. Allowing
    /// an address does not allow the names that resolve to it.
    ///
    /// # Errors
    /// An entry is not a host.
    pub fn new(allow_hosts: &[String]) -> Result<Guard, GuardError> {
        let allowed = allow_hosts
            .iter()
            .map(|entry| {
                let text = entry.trim();
                let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
                let parsed = if bare_v6 {
                    Host::parse(&format!("[{text}]"))
                } else {
                    Host::parse(text)
                };
                parsed
                    .map(|host| host_key(&host))
                    .map_err(|_| GuardError(entry.clone()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Guard {
            allowed,
            proxy: None,
        })
    }

    /// Lets the resolver resolve this proxy to any address. URLs still cannot use its private
    /// address. The proxy resolves all other names.
    pub(crate) fn allow_proxy(&mut self, proxy: &Url) {
        self.proxy = proxy.host().map(|host| host_key(&host));
    }

    /// Checks the URL of a request: its scheme, and its host if that is an address.
    ///
    /// # Errors
    /// The URL is refused.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let host = url.host().ok_or(Refused::NoHost)?;
        let address = match host {
            Host::Domain("") => return Err(Refused::NoHost),
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(v4) => IpAddr::V4(v4),
            Host::Ipv6(v6) => IpAddr::V6(v6),
        };
        self.check_address(&host.to_string(), address)
    }

    /// Checks that `host` may be reached at `address`.
    ///
    /// # Errors
    /// The address is not public and the host is not allowed.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let Some(range) = refused_range(address) else {
            return Ok(());
        };
        let allowed = Host::parse(host).is_ok_and(|h| self.allowed.contains(&host_key(&h)));
        if allowed {
            Ok(())
        } else {
            Err(Refused::Address {
                host: host.to_owned(),
                address,
                range,
            })
        }
    }

    /// A resolver that returns only the permitted addresses that `lookup` finds.
    pub(crate) fn resolver(self: &Arc<Self>, lookup: Arc<dyn Lookup>) -> GuardedResolver {
        GuardedResolver {
            guard: self.clone(),
            lookup,
        }
    }
}

/// Normalizes a host: a name in lower case without the trailing dot, an address in its shortest
/// form.
fn host_key<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().trim_end_matches('.').to_ascii_lowercase(),
        Host::Ipv4(v4) => v4.to_string(),
        Host::Ipv6(v6) => v6.to_string(),
    }
}

/// The future of a look-up.
pub(crate) type LookupFuture = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves names to addresses. Tests replace it.
pub(crate) trait Lookup: Send + Sync {
    fn lookup(&self, name: &str) -> LookupFuture;
}

/// The operating system's resolver.
pub(crate) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> LookupFuture {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|socket| socket.ip()).collect())
        })
    }
}

/// A resolver for reqwest that returns only permitted addresses.
pub(crate) struct GuardedResolver {
    guard: Arc<Guard>,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let looking = self.lookup.lookup(name.as_str());
        Box::pin(async move {
            let mut permitted: Vec<SocketAddr> = Vec::new();
            let mut refused = None;
            let is_proxy = guard.proxy.as_deref() == Some(name.as_str());
            for address in looking.await? {
                match guard.check_address(name.as_str(), address) {
                    _ if is_proxy => permitted.push(SocketAddr::new(address, 0)),
                    // Port 0 means the port of the URL.
                    Ok(()) => permitted.push(SocketAddr::new(address, 0)),
                    Err(reason) => refused = Some(reason),
                }
            }
            match (permitted.is_empty(), refused) {
                (true, Some(reason)) => Err(reason.into()),
                (true, None) => Err(format!("{} has no address", name.as_str()).into()),
                (false, _) => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn check(guard: &Guard, url: &str) -> Result<(), Refused> {
        guard.check_url(&Url::parse(url).unwrap())
    }

    /// All forms in which a URL can contain an address.
    #[test]
    fn private_addresses_in_urls_are_refused_in_every_form() {
        let guard = Guard::default();
        let refused = [
            "http://127.0.0.1/",
            "http://127.0.0.1:8080/",
            "https://127.0.0.1/",
            "http://127.1/",
            "http://127.255.255.254/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://017700000001/",
            "http://127.0.0.1./",
            "http://user:secret@127.0.0.1/",
            "http://127%2e0%2e0%2e1/",
            "http://①②⑦.⓪.⓪.①/",
            "http://0/",
            "http://0.0.0.0/",
            "http://10.0.0.1/",
            "http://167772161/",
            "http://0xa.0x0.0x0.0x1/",
            "http://012.0.0.1/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.168.1.1/",
            "http://3232235777/",
            "http://100.64.0.1/",
            "http://100.100.100.200/",
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.170.2/v2/credentials",
            "http://169.254.170.23/",
            "http://192.0.0.192/",
            "http://192.0.2.1/",
            "http://198.18.0.1/",
            "http://198.51.100.1/",
            "http://203.0.113.1/",
            "http://224.0.0.1/",
            "http://239.255.255.250/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://[::]/",
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]:80/",
            "http://[::127.0.0.1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[::ffff:0:127.0.0.1]/",
            "http://[64:ff9b::127.0.0.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[64:ff9b:1::10.0.0.1]/",
            "http://[2002:7f00:1::]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[2002:a00:1::1]/",
            "http://[2001:0:7f00:1::1]/",
            "http://[2001:0:5db8:d822:0:0:80ff:fffe]/",
            "http://[2001:db8::1]/",
            "http://[3fff::1]/",
            "http://[100::1]/",
            "http://[fc00::1]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
            "http://[febf::1]/",
            "http://[fec0::1]/",
            "http://[ff02::1]/",
            "http://[ff0e::1]/",
            "http://[5f00::1]/",
        ];
        assert!(refused.len() >= 40);
        for url in refused {
            assert!(
                matches!(check(&guard, url), Err(Refused::Address { .. })),
                "{url} passed"
            );
        }
    }

    #[test]
    fn schemes_other_than_http_are_refused() {
        for url in [
            "file:///etc/passwd",
            "ftp://example.com/",
            "gopher://127.0.0.1:6379/_",
            "data:text/plain,x",
            "unix:/run/docker.sock",
            "ws://example.com/",
        ] {
            assert!(
                matches!(check(&Guard::default(), url), Err(Refused::Scheme(_))),
                "{url} passed"
            );
        }
    }

    #[test]
    fn public_addresses_and_names_pass_the_url_check() {
        for url in [
            "http://1.1.1.1/",
            "http://172.15.255.255/",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
            "http://169.253.255.255/",
            "http://223.255.255.255/",
            "https://[2606:4700:4700::1111]/",
            "https://[64:ff9b::1.1.1.1]/",
            "https://[::ffff:1.1.1.1]/",
            "https://example.com/",
            "http://localhost/",
        ] {
            assert_eq!(check(&Guard::default(), url), Ok(()), "{url}");
        }
    }

    #[test]
    fn only_the_listed_hosts_are_allowed() {
        let allow = |hosts: &[&str]| {
            Guard::new(&hosts.iter().map(|h| h.to_string()).collect::<Vec<_>>()).unwrap()
        };
        let local = "127.0.0.1".parse().unwrap();
        let guard = allow(&[
            "127.0.0.1",
            "Tax.Internal",
            "::1",
            "[fd00::1]",
            "bücher.example",
        ]);
        for url in [
            "http://127.0.0.1:8080/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[fd00:0::1]/",
        ] {
            assert_eq!(check(&guard, url), Ok(()), "{url}");
        }
        for url in ["http://127.0.0.2/", "http://[::ffff:127.0.0.1]/"] {
            assert!(check(&guard, url).is_err(), "{url}");
        }
        for host in [
            "tax.internal",
            "TAX.internal",
            "tax.internal.",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(guard.check_address(host, local), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "a.tax.internal",
            "tax.internal.evil.example",
        ] {
            assert!(guard.check_address(host, local).is_err(), "{host}");
        }
        for bad in ["http://tax.internal", "tax.internal:80", "10.0.0.0/8", ""] {
            assert_eq!(
                Guard::new(&[bad.to_owned()]).unwrap_err(),
                GuardError(bad.to_owned())
            );
        }
    }

    #[test]
    fn the_reason_names_host_and_address() {
        let refused = Guard::default()
            .check_address("evil.example", "10.0.0.1".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "refused: evil.example resolves to 10.0.0.1, which is not a public address (private network); to allow it, add \"evil.example\" to the step's allow_hosts"
        );
        let refused = check(&Guard::default(), "http://[::1]/").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "refused: [::1] is not a public address (loopback); to allow it, add \"::1\" to the step's allow_hosts"
        );
    }

    /// Answers differently at each look-up, like a DNS rebinding server.
    struct RebindingDns(AtomicUsize, Vec<Vec<&'static str>>);

    impl Lookup for RebindingDns {
        fn lookup(&self, _: &str) -> LookupFuture {
            let i = self.0.fetch_add(1, Ordering::SeqCst).min(self.1.len() - 1);
            let found = self.1[i].iter().map(|a| a.parse().unwrap()).collect();
            Box::pin(std::future::ready(Ok(found)))
        }
    }

    async fn resolve(resolver: &GuardedResolver, name: &str) -> Result<Vec<String>, String> {
        match resolver.resolve(name.parse().unwrap()).await {
            Ok(found) => Ok(found.map(|a| a.ip().to_string()).collect()),
            Err(e) => Err(e.to_string()),
        }
    }

    #[tokio::test]
    async fn a_name_resolves_to_the_permitted_addresses_of_one_look_up() {
        let guard = Arc::new(Guard::new(&["allowed.test".into()]).unwrap());
        let answers = Arc::new(RebindingDns(
            AtomicUsize::new(0),
            vec![vec!["1.1.1.1", "10.0.0.1", "::1"], vec!["127.0.0.1"]],
        ));
        let resolver = guard.resolver(answers.clone());
        assert_eq!(
            resolve(&resolver, "rebind.test").await,
            Ok(vec!["1.1.1.1".into()])
        );
        assert_eq!(answers.0.load(Ordering::SeqCst), 1);
        let refused = resolve(&resolver, "rebind.test").await.unwrap_err();
        assert!(refused.contains("rebind.test resolves to 127.0.0.1"));
        assert_eq!(
            resolve(&resolver, "allowed.test").await,
            Ok(vec!["127.0.0.1".into()])
        );
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_an_error() {
        let none = RebindingDns(AtomicUsize::new(0), vec![vec![]]);
        let resolver = Arc::new(Guard::default()).resolver(Arc::new(none));
        assert_eq!(
            resolve(&resolver, "none.test").await,
            Err("none.test has no address".into())
        );
    }

    proptest::proptest! {
        /// The form in which a URL writes an IPv4 address does not change whether it is refused.
        #[test]
        fn all_forms_of_an_address_are_checked_alike(bits: u32, forms: [u8; 4], parts in 1_usize..=4) {
            let [a, b, c, d] = bits.to_be_bytes().map(u32::from);
            let numbers = match parts {
                1 => vec![bits],
                2 => vec![a, bits & 0xff_ffff],
                3 => vec![a, b, bits & 0xffff],
                _ => vec![a, b, c, d],
            };
            let written: Vec<String> = numbers
                .iter()
                .zip(forms)
                .map(|(n, form)| match form % 4 {
                    0 => n.to_string(),
                    1 => format!("0x{n:x}"),
                    2 => format!("0X{n:08X}"),
                    _ => format!("0{n:o}"),
                })
                .collect();
            let url = format!("http://{}/", written.join("."));
            let address = std::net::Ipv4Addr::from_bits(bits);
            proptest::prop_assert_eq!(
                check(&Guard::default(), &url).is_err(),
                refused_range(IpAddr::V4(address)).is_some(),
                "{}", url
            );
        }
    }
}
