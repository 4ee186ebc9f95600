//! What a URL must be to be sent to, and what a reference in a redirect leads to.

use hyper::Uri;
use hyper::header::HeaderValue;

/// Longest URL in bytes: servers commonly refuse more than 8 KiB.
pub(crate) const MAX_URL: usize = 8 << 10;

/// A URL that nothing can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no URL to send to: {reason}")]
pub struct BadUrl {
    /// The URL, without its query, which may hold secrets.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A URL, taken apart for a connection.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) secure: bool,
    /// A name or an address, the latter without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) host_header: HeaderValue,
    /// Path and query.
    pub(super) origin_form: Uri,
}

/// Reads a URL and judges it: `http` or `https`, a host, no user or password, no fragment's remains, only ASCII.
///
/// # Errors
/// [`BadUrl`], which says why.
pub fn check(text: &str) -> Result<Uri, BadUrl> {
    let wrong = |reason: &str| BadUrl { url: without_query(text).to_owned(), reason: reason.to_owned() };
    if text.len() > MAX_URL {
        return Err(wrong("it is longer than 8 KiB"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong(
            "it has characters other than visible ASCII; write them as %XX, and names as xn--…",
        ));
    }
    let url: Uri = text.parse().map_err(|error: hyper::http::uri::InvalidUri| wrong(&error.to_string()))?;
    target(&url)?;
    Ok(url)
}

/// Takes a URL apart.
pub(super) fn target(url: &Uri) -> Result<Target, BadUrl> {
    let wrong = |reason: &str| BadUrl { url: shown(url), reason: reason.to_owned() };
    let secure = match url.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("it begins with neither http:// nor https://")),
    };
    let authority = url.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it has a user or password in it; send them in a header"));
    }
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        // An authority that ends in something else after its host has a port that is no number below 65536.
        None if authority.as_str().len() > authority.host().len() => {
            return Err(wrong("its port is no number between 1 and 65535"));
        }
        None if secure => 443,
        None => 80,
    };
    if port == 0 {
        return Err(wrong("its port is no number between 1 and 65535"));
    }
    let host_header =
        HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("its host is not visible ASCII"))?;
    let origin_form = url.path_and_query().map_or("/", |path| path.as_str());
    let origin_form =
        if origin_form.starts_with('/') { origin_form.to_owned() } else { format!("/{origin_form}") };
    let origin_form = origin_form.parse().map_err(|_| wrong("its path cannot be sent"))?;
    Ok(Target { secure, host: host.to_owned(), port, host_header, origin_form })
}

/// Where it leads, without its query, which may hold secrets.
pub(crate) fn shown(url: &Uri) -> String {
    without_query(&url.to_string()).to_owned()
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

/// Whether two URLs lead to the same server by the same road.
pub(super) fn same_origin(one: &Uri, other: &Uri) -> bool {
    match (target(one), target(other)) {
        (Ok(one), Ok(other)) => {
            one.secure == other.secure && one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
        }
        _ => false,
    }
}

/// What a reference means that was found at a URL (RFC 3986, 5.2).
pub(super) fn resolve(base: &Uri, reference: &str) -> Result<Uri, BadUrl> {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    if has_scheme(reference) {
        return check(reference);
    }
    if reference.starts_with("//") {
        return check(&format!("{scheme}:{reference}"));
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        path if path.starts_with('/') => (without_dots(path), query),
        path => {
            let directory = base.path().rfind('/').map_or("/", |end| &base.path()[..=end]);
            (without_dots(&format!("{directory}{path}")), query)
        }
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    check(&format!("{scheme}://{authority}{path}{query}"))
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("." | ".."));
    let end = if is_directory && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_can_be_sent_to_are_taken() {
        for good in [
            "http://example.com",
            "https://example.com/",
            "http://[::1]:8080/a?b",
            "http://127.0.0.1:1/",
            "http://example.com?query",
            "HTTP://EXAMPLE.com/",
        ] {
            assert!(check(good).is_ok(), "{good}: {:?}", check(good));
        }
        for bad in [
            "",
            "example.com",
            "/path",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http://",
            "http:///path",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://example.com:/",
            "http://exa mple.com/",
            "http://example.com/\r\nX: y",
            "http://bücher.example/",
            "http://example.com/ü",
            "javascript:alert(1)",
        ] {
            assert!(check(bad).is_err(), "{bad}: {:?}", check(bad));
        }
        assert!(check(&format!("http://example.com/{}", "a".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn what_is_told_of_a_url_has_no_query() {
        let error = check("http://user@example.com/?token=secret").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn references_lead_where_the_rfc_says() {
        // From RFC 3986, 5.4.
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("https://x:1/y", "https://x:1/y"),
        ] {
            let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
            assert_eq!(resolve(&base, reference).unwrap().to_string(), expected, "{reference:?}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_or_port() {
        for (one, other, same) in [
            ("http://a/x", "http://A:80/y", true),
            ("https://a/", "https://a:443/", true),
            ("http://a/", "https://a/", false),
            ("http://a/", "http://a:81/", false),
            ("http://a/", "http://b/", false),
        ] {
            assert_eq!(same_origin(&one.parse().unwrap(), &other.parse().unwrap()), same, "{one} {other}");
        }
    }
}
