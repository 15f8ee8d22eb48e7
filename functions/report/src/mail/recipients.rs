use lettre::message::Mailbox;
use rowmill_domain::limits::RECIPIENTS_MAX;

/// Whom a mail goes to: 1 to [`RECIPIENTS_MAX`] valid addresses, none twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recipients {
    pub(crate) to: Vec<Mailbox>,
    /// Who was left out and why, for the mail.
    pub(crate) notes: Vec<String>,
}

impl Recipients {
    /// The valid addresses of the first list that has one. Else the addresses tried.
    pub(crate) fn choose(lists: &[&Vec<String>]) -> Result<Recipients, String> {
        let mut notes = Vec::new();
        for list in lists {
            let mut to: Vec<Mailbox> = Vec::new();
            for text in *list {
                match text.trim().parse::<Mailbox>() {
                    Ok(mailbox) if to.iter().any(|m| m.email == mailbox.email) => {}
                    Ok(mailbox) => to.push(mailbox),
                    Err(_) => {
                        notes.push(format!("`{text}` is not an email address and got no mail"));
                    }
                }
            }
            if to.len() > RECIPIENTS_MAX {
                notes.push(format!(
                    "only the first {RECIPIENTS_MAX} of {} recipients got this mail: name a \
                     mailing list instead",
                    to.len()
                ));
                to.truncate(RECIPIENTS_MAX);
            }
            if !to.is_empty() {
                return Ok(Recipients { to, notes });
            }
        }
        match notes.is_empty() {
            true => Err("none is set".to_owned()),
            false => Err(notes.join("; ")),
        }
    }

    /// The bare addresses.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.to.iter().map(|m| m.email.to_string()).collect()
    }
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

    #[test]
    fn the_first_list_with_an_address_is_taken() {
        let chosen = Recipients::choose(&[
            &list(&["nonsense"]),
            &list(&["Müller <a@example.com>", " a@example.com", "b@example.com"]),
            &list(&["default@example.com"]),
        ])
        .unwrap();
        assert_eq!(chosen.addresses(), ["a@example.com", "b@example.com"]);
        assert_eq!(chosen.notes.len(), 1, "{:?}", chosen.notes);
        assert!(Recipients::choose(&[&list(&[]), &list(&["x"])]).is_err());
    }

    #[test]
    fn no_more_recipients_than_the_mail_service_takes() {
        let many: Vec<String> = (0..60).map(|i| format!("a{i}@example.com")).collect();
        let chosen = Recipients::choose(&[&many]).unwrap();
        assert_eq!(chosen.to.len(), RECIPIENTS_MAX);
        assert!(chosen.notes[0].contains("60"), "{:?}", chosen.notes);
    }
}
