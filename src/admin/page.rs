//! What is the page made of?
//!
//! Files that stand beside this one, as they are: no script and no style is written into the page itself,
//! so that its policy can allow none that is.

use http::{HeaderValue, Response};

use super::reply::{self, Body};

/// One of its files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asset {
    /// Where it stands.
    pub(super) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// All of them.
pub(super) static ASSETS: [Asset; 3] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("page/page.html"),
    },
    Asset {
        path: "/page.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("page/page.css"),
    },
    Asset {
        path: "/page.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("page/page.js"),
    },
];

/// Its own files and its own server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

impl Asset {
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = reply::whole(self.content_type, self.text);
        let policy = HeaderValue::from_static(POLICY);
        response
            .headers_mut()
            .insert("content-security-policy", policy);
        response
    }
}
