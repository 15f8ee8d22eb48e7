use lettre::Address;
use lettre::message::Mailbox;
use rowmill_domain::limits::RECIPIENTS_MAX;

/// Whom a mail goes to: 1 to [`RECIPIENTS_MAX`] valid addresses, none twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recipients {
    pub(crate) to: Vec<Mailbox>,
    /// Who was left out and why, for the mail.
    pub(crate) notes: Vec<String>,
}

/// Who may get mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    /// Recipients at these domains only; at any where there is none.
    pub(crate) domains: &'a [String],
    /// Whoever set the domains set these as well, so they are not held to them.
    pub(crate) default_to: &'a [String],
}

impl Allowed<'_> {
    fn allows(&self, mailbox: &Mailbox) -> bool {
        let domain = mailbox.email.domain();
        self.domains.is_empty() || self.domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
    }
}

impl Recipients {
    /// The valid addresses of the first list that has one, else the default ones. Those at domains
    /// that are not allowed are left out, and then the default ones get the mail as well, whose
    /// notes say who was refused. Else the addresses tried.
    pub(crate) fn choose(lists: &[&Vec<String>], allowed: Allowed) -> Result<Recipients, String> {
        let mut chosen = Recipients {
            to: Vec::new(),
            notes: Vec::new(),
        };
        let mut refused = false;
        for list in lists {
            for text in *list {
                match mailbox(text) {
                    Some(mailbox) if allowed.allows(&mailbox) => chosen.add(mailbox),
                    Some(mailbox) => {
                        refused = true;
                        chosen.notes.push(format!(
                            "`{}` got no mail: mail goes to addresses at {} only (AllowedDomains \
                             of the deployment)",
                            mailbox.email,
                            allowed.domains.join(", ")
                        ));
                    }
                    None => chosen.notes.push(no_address(text)),
                }
            }
            if !chosen.to.is_empty() {
                break;
            }
        }
        if chosen.to.is_empty() || refused {
            for text in allowed.default_to {
                match mailbox(text) {
                    Some(mailbox) => chosen.add(mailbox),
                    None => chosen.notes.push(no_address(text)),
                }
            }
        }
        if chosen.to.len() > RECIPIENTS_MAX {
            chosen.notes.push(format!(
                "only the first {RECIPIENTS_MAX} of {} recipients got this mail: name a mailing \
                 list instead",
                chosen.to.len()
            ));
            chosen.to.truncate(RECIPIENTS_MAX);
        }
        match (chosen.to.is_empty(), chosen.notes.is_empty()) {
            (false, _) => Ok(chosen),
            (true, true) => Err("none is set".to_owned()),
            (true, false) => Err(chosen.notes.join("; ")),
        }
    }

    fn add(&mut self, mailbox: Mailbox) {
        if self.to.iter().all(|m| m.email != mailbox.email) {
            self.to.push(mailbox);
        }
    }

    /// The bare addresses.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.to.iter().map(|m| m.email.to_string()).collect()
    }
}

/// The mailbox as SES takes it, which takes addresses of 7-bit ASCII: a domain can be written so
/// (`müller.example` is `xn--mller-kva.example`), what stands before it cannot. Source: SES API v2,
/// Destination.
fn mailbox(text: &str) -> Option<Mailbox> {
    let Mailbox { name, email } = text.trim().parse().ok()?;
    if !email.user().is_ascii() {
        return None;
    }
    let email = match email.domain().is_ascii() {
        true => email,
        false => {
            let domain = idna::domain_to_ascii(email.domain()).ok()?;
            Address::new(email.user(), domain).ok()?
        }
    };
    Some(Mailbox::new(name, email))
}

fn no_address(text: &str) -> String {
    format!("`{text}` is not an email address and got no mail")
}

/// The bare address of a mailbox: `Rowmill <a@b.c>` gives `a@b.c`.
pub(crate) fn address(mailbox: &str) -> Result<String, String> {
    Ok(sender(mailbox)?.email.to_string())
}

/// The sender.
pub(super) fn sender(mailbox: &str) -> Result<Mailbox, String> {
    mailbox
        .parse()
        .map_err(|error| format!("the sender `{mailbox}` is not an email address: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    const ANYBODY: Allowed = Allowed {
        domains: &[],
        default_to: &[],
    };

    #[test]
    fn the_first_list_with_an_address_is_taken() {
        let default_to = list(&["default@example.com"]);
        let allowed = Allowed {
            default_to: &default_to,
            ..ANYBODY
        };
        let named = list(&["Müller <a@example.com>", " a@example.com", "b@example.com"]);
        let chosen = Recipients::choose(&[&list(&["nonsense"]), &named], allowed).unwrap();
        assert_eq!(chosen.addresses(), ["a@example.com", "b@example.com"]);
        assert_eq!(chosen.notes.len(), 1, "{:?}", chosen.notes);
        let nobody = Recipients::choose(&[&list(&[])], allowed).unwrap();
        assert_eq!(nobody.addresses(), ["default@example.com"]);
        assert!(Recipients::choose(&[&list(&[]), &list(&["x"])], ANYBODY).is_err());
    }

    #[test]
    fn refused_domains_are_left_out_and_the_default_recipient_is_told() {
        let (domains, default_to) = (list(&["Example.com"]), list(&["ops@elsewhere.org"]));
        let allowed = Allowed {
            domains: &domains,
            default_to: &default_to,
        };
        let choose = |to: &[&str]| Recipients::choose(&[&list(to)], allowed);
        let some = choose(&["a@EXAMPLE.com", "Eve <eve@evil.example>"]).unwrap();
        assert_eq!(some.addresses(), ["a@EXAMPLE.com", "ops@elsewhere.org"]);
        assert!(
            some.notes[0].starts_with("`eve@evil.example` got no mail"),
            "{:?}",
            some.notes
        );
        // Neither below nor beside the domain.
        let none = choose(&["x@sub.example.com", "x@notexample.com"]).unwrap();
        assert_eq!(none.addresses(), ["ops@elsewhere.org"]);
        assert_eq!(none.notes.len(), 2);
        let all = choose(&["a@example.com"]).unwrap();
        assert_eq!(all.addresses(), ["a@example.com"]);
        let nobody = Allowed {
            default_to: &[],
            ..allowed
        };
        let tried = Recipients::choose(&[&list(&["eve@evil.example"])], nobody).unwrap_err();
        assert!(tried.contains("eve@evil.example"), "{tried}");
    }

    #[test]
    fn addresses_are_written_as_the_mail_service_takes_them() {
        let named = list(&["Jürgen <j@müller.example>", "jürgen@example.com"]);
        let chosen = Recipients::choose(&[&named], ANYBODY).unwrap();
        assert_eq!(chosen.addresses(), ["j@xn--mller-kva.example"]);
        assert_eq!(chosen.to[0].name.as_deref(), Some("Jürgen"));
        let [note] = &chosen.notes[..] else {
            panic!("{:?}", chosen.notes)
        };
        assert!(
            note.contains("jürgen@example.com") && note.contains("got no mail"),
            "{note}"
        );
        let domains = list(&["xn--mller-kva.example"]);
        let allowed = Allowed {
            domains: &domains,
            ..ANYBODY
        };
        let chosen = Recipients::choose(&[&named], allowed).unwrap();
        assert_eq!(chosen.addresses(), ["j@xn--mller-kva.example"]);
    }

    #[test]
    fn no_more_recipients_than_the_mail_service_takes() {
        let many: Vec<String> = (0..60).map(|i| format!("a{i}@example.com")).collect();
        let chosen = Recipients::choose(&[&many], ANYBODY).unwrap();
        assert_eq!(chosen.to.len(), RECIPIENTS_MAX);
        assert!(chosen.notes[0].contains("60"), "{:?}", chosen.notes);
    }
}
