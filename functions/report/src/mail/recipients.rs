use lettre::Address;
use lettre::message::Mailbox;
use rowmill_domain::limits::RECIPIENTS_MAX;

/// The recipients of a mail: 1 to [`RECIPIENTS_MAX`] different valid addresses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recipients {
    pub(crate) to: Vec<Mailbox>,
    /// Who was left out and why. The mail says so.
    pub(crate) notes: Vec<String>,
}

/// Who may receive mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    /// The domains that may receive mail. Empty: all domains.
    pub(crate) domains: &'a [String],
    /// The default recipients, at any domain: whoever restricts the domains also chooses these
    /// too.
    pub(crate) default_to: &'a [String],
}

impl Allowed<'_> {
    fn allows(&self, mailbox: &Mailbox) -> bool {
        let domain = mailbox.email.domain();
        self.domains.is_empty() || self.domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
    }
}

impl Recipients {
    /// The valid addresses of the first list that has one, else the default recipients. Addresses
    /// at domains that are not allowed are left out; then the default recipients get the mail too,
    /// and its notes name those left out.
    ///
    /// # Errors
    /// There is no valid address. The error names the ones tried.
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
                            "`{}` did not get this mail: mail may only go to addresses at {} \
                             (parameter AllowedDomains of the deployment)",
                            mailbox.email,
                            allowed.domains.join(", ")
                        ));
                    }
                    None => chosen.notes.push(invalid(text)),
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
                    None => chosen.notes.push(invalid(text)),
                }
            }
        }
        if chosen.to.len() > RECIPIENTS_MAX {
            chosen.notes.push(format!(
                "only the first {RECIPIENTS_MAX} of {} recipients got this mail: use a mailing list \
                 instead",
                chosen.to.len()
            ));
            chosen.to.truncate(RECIPIENTS_MAX);
        }
        match (chosen.to.is_empty(), chosen.notes.is_empty()) {
            (false, _) => Ok(chosen),
            (true, true) => Err("there is none".to_owned()),
            (true, false) => Err(chosen.notes.join("; ")),
        }
    }

    fn add(&mut self, mailbox: Mailbox) {
        if self.to.iter().all(|m| m.email != mailbox.email) {
            self.to.push(mailbox);
        }
    }

    /// The addresses without names.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.to.iter().map(|m| m.email.to_string()).collect()
    }
}

/// Parses a mailbox into the form that SES accepts: 7-bit ASCII. A domain can be encoded
/// (`müller.example` is `xn--mller-kva.example`), the part before the `@` cannot. Source: SES API
/// v2, Destination.
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

fn invalid(text: &str) -> String {
    format!("`{text}` is not a valid email address")
}

/// The address of a mailbox: `Rowmill <a@b.c>` gives `a@b.c`.
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
    fn the_first_list_with_a_valid_address_is_used() {
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
    fn recipients_at_other_domains_are_left_out_and_the_default_recipient_gets_the_mail() {
        let (domains, default_to) = (list(&["Example.com"]), list(&["ops@elsewhere.org"]));
        let allowed = Allowed {
            domains: &domains,
            default_to: &default_to,
        };
        let choose = |to: &[&str]| Recipients::choose(&[&list(to)], allowed);
        let some = choose(&["a@EXAMPLE.com", "Eve <eve@evil.example>"]).unwrap();
        assert_eq!(some.addresses(), ["a@EXAMPLE.com", "ops@elsewhere.org"]);
        assert!(
            some.notes[0].starts_with("`eve@evil.example` did not get this mail"),
            "{:?}",
            some.notes
        );
        // Neither a subdomain nor a domain with the same ending.
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
    fn addresses_are_encoded_as_the_mail_service_requires() {
        let named = list(&["Jürgen <j@müller.example>", "jürgen@example.com"]);
        let chosen = Recipients::choose(&[&named], ANYBODY).unwrap();
        assert_eq!(chosen.addresses(), ["j@xn--mller-kva.example"]);
        assert_eq!(chosen.to[0].name.as_deref(), Some("Jürgen"));
        let [note] = &chosen.notes[..] else {
            panic!("{:?}", chosen.notes)
        };
        assert!(
            note.contains("jürgen@example.com") && note.contains("not a valid"),
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
    fn recipients_are_limited_to_what_the_mail_service_accepts() {
        let many: Vec<String> = (0..60).map(|i| format!("a{i}@example.com")).collect();
        let chosen = Recipients::choose(&[&many], ANYBODY).unwrap();
        assert_eq!(chosen.to.len(), RECIPIENTS_MAX);
        assert!(chosen.notes[0].contains("60"), "{:?}", chosen.notes);
    }
}
