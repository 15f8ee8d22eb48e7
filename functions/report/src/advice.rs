//! What to do about rows without a result, by their reason.

use rowmill_domain::Status;
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::outcome::failed_step;
use rowmill_domain::run::Stop;

/// What to do about rows with this status and reason, as a sentence.
pub(crate) fn advice(status: Status, reason: &str) -> &'static str {
    match status {
        Status::Ok => "",
        Status::Missing if reason.starts_with(Stop::MISSING) => {
            "These rows were not processed. Process them again, or the file."
        }
        Status::Missing => {
            "These rows are not the cause: a machine or a service failed. Process them again."
        }
        Status::Failed if failed_step(reason).is_some() => of_step(reason),
        Status::Failed if reason.starts_with("check `") => of_check(reason),
        Status::Failed => "Correct these rows or the pipeline, and process them again.",
    }
}

fn of_check(reason: &str) -> &'static str {
    match reason.contains("cannot be evaluated") {
        true => "Fill in the missing values, or allow for them in the rule with has().",
        false => "Correct the values that the rule uses, or the rule in the pipeline.",
    }
}

fn of_step(reason: &str) -> &'static str {
    let any = |parts: &[&str]| parts.iter().any(|part| reason.contains(part));
    if any(&["(command): "]) {
        return match any(&[
            "` exited",
            "` did not answer",
            "` wrote",
            "is not started again",
        ]) {
            true => "Correct the program. The log of its job has all that it wrote.",
            false => "The program gives this reason: correct these rows, or the program.",
        };
    }
    if any(&["` is empty", "` has no value for"]) {
        return "Fill in the empty cells, and process these rows again.";
    }
    if any(&["disallowed by"]) && any(&["/robots.txt: `"]) {
        return "The source does not allow programs here. Ask its operator for permission.";
    }
    if any(&["`Crawl-delay: "]) {
        return "The source allows fewer requests. Divide the file, or ask its operator for permission.";
    }
    match http_status(reason) {
        Some(401 | 403 | 407) => {
            "The source refuses access: check the address and the key in the pipeline."
        }
        Some(404 | 410) => "The source does not know these values: check them in the rows.",
        Some(408 | 425 | 429 | 500..=599) => {
            "The source was busy or failed. Process these rows again later."
        }
        Some(_) => "The source refuses the request: check the values in these rows.",
        None if any(&[
            "no answer within",
            "cannot connect",
            "connection",
            "the request failed",
        ]) =>
        {
            "The source could not be reached. Process these rows again later."
        }
        None if any(&["has no value"]) => {
            "The source has no such value for these rows, or the output in the pipeline is wrong."
        }
        None => "Correct these rows or the pipeline, and process them again.",
    }
}

/// The status of a response in a reason, such as 404 in `GET https://a.example/: 404 Not Found`.
fn http_status(reason: &str) -> Option<u16> {
    let parts = reason.split(": ").skip(1);
    let mut statuses = parts.filter_map(|part| {
        let digits = part.get(..3)?;
        let ends = part[3..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric());
        digits.parse().ok().filter(|_| ends)
    });
    statuses.find(|status| (400..600).contains(status))
}

/// What to do about rejected rows, as a sentence.
pub(crate) fn of_rejected(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Blank => "There is nothing to do if these rows are meant to be blank.",
        RejectReason::MissingRequired => "Fill in the required values.",
        RejectReason::DuplicateKey => "Remove the repeated rows, or correct their keys.",
        RejectReason::Unreadable => {
            "Correct the values that the column \"detail\" of Rejected names."
        }
        RejectReason::BeyondLimit => "Run the file without the limit.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::outcome::step_error;

    #[test]
    fn the_advice_fits_the_reason() {
        let http = |text: &str| step_error(0, "http", text);
        for (reason, part) in [
            (
                http("GET https://a.example/x: 404 Not Found"),
                "does not know",
            ),
            (
                http(
                    "disallowed by https://a.example/robots.txt: `Disallow: /` (line 2); set robots = false",
                ),
                "Ask its operator",
            ),
            (
                http(
                    "https://a.example/robots.txt allows one request every 60 s (`Crawl-delay: 60`); the wait",
                ),
                "fewer requests",
            ),
            (
                http("GET https://a.example/robots.txt: cannot connect: connection refused"),
                "could not be reached",
            ),
            (
                http(
                    "GET https://a.example/robots.txt: 503 Service Unavailable, so robots.txt could not be read",
                ),
                "busy or failed",
            ),
            (
                http("GET https://a.example/404: 403 Forbidden"),
                "refuses access",
            ),
            (
                http("GET https://a.example/x: 503 Service Unavailable, 4 attempts"),
                "again later",
            ),
            (
                http("GET https://a.example/x: 422, and `ok` is false"),
                "refuses the request",
            ),
            (
                http("GET https://a.example/x: no answer within 20s"),
                "not be reached",
            ),
            (
                http("GET https://a.example/x: cannot connect: Connection refused"),
                "not be reached",
            ),
            (
                http("output `due`: $.due has no value in the response ({})"),
                "no such value",
            ),
            (http("url: `Customer ID` is empty"), "Fill in"),
            (
                step_error(1, "command", "`sh` exited on this record (exit status: 3)"),
                "Correct the program",
            ),
            (
                step_error(1, "command", "no such parcel"),
                "The program gives",
            ),
            ("check `due < 30.0` failed".to_owned(), "or the rule"),
            (
                "check `due < 30.0` cannot be evaluated: `due` is empty".to_owned(),
                "Fill in the missing",
            ),
        ] {
            let advice = advice(Status::Failed, &reason);
            assert!(advice.contains(part), "{reason}: {advice}");
        }
        assert!(advice(Status::Missing, "the job failed").contains("Process them again"));
    }

    #[test]
    fn advice_is_a_sentence() {
        let reasons = [
            RejectReason::Blank,
            RejectReason::MissingRequired,
            RejectReason::DuplicateKey,
            RejectReason::Unreadable,
            RejectReason::BeyondLimit,
        ];
        for text in reasons.map(of_rejected) {
            assert!(
                text.ends_with('.') && text.starts_with(char::is_uppercase),
                "{text}"
            );
        }
    }
}
