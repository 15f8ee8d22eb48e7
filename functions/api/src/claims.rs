//! Access on AWS: API Gateway has checked the token, and passes its claims on.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::header};
use lambda_http::request::RequestContext;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::access::{Caller, Role};
use crate::problem::Problem;

/// Which claims say who calls and what they may do.
#[derive(Clone, Debug)]
pub struct ClaimsAccess {
    /// The claim with the role: `viewer`, `reviewer` or `operator`, or a list such as that of Cognito's
    /// groups. The highest one counts.
    pub role: String,
    /// The claim with the name under which reviews are stored and results are sent: an email address.
    pub name: String,
    /// How the page signs people in. `None`: by a token from elsewhere.
    pub sign_in: Option<SignIn>,
    /// Other sites that the page may call: the bucket for uploads, and the issuer.
    pub sites: Vec<String>,
}

/// How the page signs people in: OpenID Connect with the authorization code flow and PKCE.
#[derive(Clone, Debug, Serialize)]
pub struct SignIn {
    /// The issuer. Its `/.well-known/openid-configuration` has the addresses.
    pub issuer: String,
    /// The id of the page as a client.
    pub client: String,
}

impl ClaimsAccess {
    /// Finds out who calls. `None`: API Gateway passed no claims.
    fn caller(&self, claims: Option<&HashMap<String, String>>) -> Result<Caller, Problem> {
        let claims = claims.ok_or_else(Problem::unauthorized)?;
        let groups = claims.get(&self.role).map_or("", String::as_str);
        let role = role_of(groups).ok_or_else(|| {
            Problem::forbidden(format!(
                "Your account has no role: the claim `{}` must be `viewer`, `reviewer` or `operator`. \
                 Ask the person who operates Rowmill.",
                self.role
            ))
        })?;
        let name = claims.get(&self.name).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            Problem::forbidden(format!("Your token has no claim `{}`.", self.name))
        })?;
        // Whoever can choose an address must not become another person.
        if self.name == "email" && claims.get("email_verified").is_some_and(|v| v == "false") {
            return Err(Problem::forbidden("Your email address is not verified."));
        }
        Ok(Caller {
            name: name.clone(),
            role,
        })
    }

    /// What the page may load and call.
    pub(crate) fn content_security_policy(&self) -> HeaderValue {
        let sites = self.sites.join(" ");
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {sites}; \
             img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        );
        // Without the other sites, the page still shows runs.
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    }
}

/// The highest role in a claim. API Gateway writes a list as `[a b]`.
fn role_of(claim: &str) -> Option<Role> {
    let words = claim.split(|c: char| c.is_whitespace() || "[],\"".contains(c));
    let roles = words.filter_map(|word| match word {
        "viewer" => Some(Role::Viewer),
        "reviewer" => Some(Role::Reviewer),
        "operator" => Some(Role::Operator),
        _ => None,
    });
    roles.max()
}

/// Refuses requests without a role, for the routes that need one.
pub(crate) async fn with_claims(
    State(access): State<ClaimsAccess>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = request.extensions().get::<RequestContext>();
    let claims = context.and_then(|context| match context {
        RequestContext::ApiGatewayV2(context) => {
            let jwt = context.authorizer.as_ref()?.jwt.as_ref()?;
            Some(&jwt.claims)
        }
        // Of other services.
        _ => None,
    });
    match access.caller(claims) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// `GET /sign-in`: how the page signs people in; null without an issuer.
pub(crate) fn sign_in(access: &ClaimsAccess) -> Router {
    let answer: Value = json!({ "sign_in": access.sign_in });
    let answer = move || async move { ([(header::CACHE_CONTROL, "no-cache")], Json(answer)) };
    Router::new().route("/sign-in", get(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> ClaimsAccess {
        ClaimsAccess {
            role: "cognito:groups".into(),
            name: "email".into(),
            sign_in: None,
            sites: vec!["https://work.s3.example.com".into()],
        }
    }

    fn status(claims: &[(&str, &str)]) -> Result<(String, Role), u16> {
        let pairs = claims
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let caller = access().caller(Some(&pairs.collect()));
        caller.map(|c| (c.name, c.role)).map_err(|p| p.status())
    }

    #[test]
    fn the_highest_role_in_the_claim_counts() {
        for (claim, role) in [
            ("viewer", Some(Role::Viewer)),
            ("[viewer reviewer]", Some(Role::Reviewer)),
            ("[\"operator\",\"x\"]", Some(Role::Operator)),
            ("operators", None),
            ("", None),
        ] {
            assert_eq!(role_of(claim), role, "{claim}");
        }
    }

    #[test]
    fn a_caller_has_claims_a_role_and_a_verified_name() {
        let groups = ("cognito:groups", "[reviewer]");
        let email = ("email", "ada@example.com");
        assert_eq!(
            status(&[groups, email]),
            Ok(("ada@example.com".into(), Role::Reviewer))
        );
        assert_eq!(status(&[email]), Err(403));
        assert_eq!(status(&[groups]), Err(403));
        assert_eq!(status(&[groups, ("email", "")]), Err(403));
        let unverified = ("email_verified", "false");
        assert_eq!(status(&[groups, email, unverified]), Err(403));
        assert_eq!(access().caller(None).unwrap_err().status(), 401);
    }

    #[test]
    fn the_page_may_call_the_bucket() {
        let policy = access().content_security_policy();
        let policy = policy.to_str().unwrap();
        assert!(policy.contains("connect-src 'self' https://work.s3.example.com;"));
        assert!(!policy.contains("unsafe"));
    }
}
