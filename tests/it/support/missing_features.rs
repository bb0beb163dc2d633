//! Missing features of S3-compatible stores, imposed on a complete store by the proxy in front of
//! it: requests are refused, or changed and signed again.

use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use darkroom_dev::s3;

/// A feature that a store is missing, or a policy that it enforces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MissingFeature {
    /// Refuses requests with checksums.
    Checksums,
    /// Refuses conditional writes, with this status and code.
    ConditionalWrites(u16, &'static str),
    /// Accepts conditional writes and ignores the condition.
    Conditions,
    /// Refuses bodies with a trailer checksum.
    Trailers,
    /// Refuses conditional writes and trailer checksums.
    ConditionalWritesAndTrailers,
    /// Refuses to create objects for which server-side encryption is not requested.
    Unencrypted,
    /// Refuses all writes.
    Writes,
}

/// Decision about one request.
pub(crate) enum Decision {
    /// Forwards the request unchanged.
    Pass,
    /// Forwards the request with this head instead.
    Changed(Vec<u8>),
    /// Answers with this status and error code.
    Refuse(u16, &'static str),
}

impl MissingFeature {
    /// Decides about a request with this head.
    pub(crate) fn decide(self, method: &str, target: &str, head: &[u8]) -> Decision {
        let headers = headers(head);
        let value = |name: &str| {
            let header = headers.iter().find(|(known, _)| known == name);
            header.map(|(_, value)| value.as_str())
        };
        let is_conditional = value("if-none-match").is_some();
        let has_trailer = value("x-amz-trailer").is_some();
        let begins_object = method == "PUT" && !target.contains("partNumber=")
            || method == "POST" && target.contains("?uploads");
        let not_implemented = Decision::Refuse(501, "NotImplemented");
        match self {
            Self::Checksums
                if headers.iter().any(|(name, value)| {
                    name.contains("checksum") || value.contains("checksum")
                }) =>
            {
                Decision::Refuse(400, "InvalidArgument")
            }
            Self::ConditionalWrites(status, code) if is_conditional => {
                Decision::Refuse(status, code)
            }
            Self::Conditions if is_conditional => Decision::Changed(without_condition(head)),
            Self::Trailers if has_trailer => Decision::Refuse(400, "InvalidArgument"),
            Self::ConditionalWritesAndTrailers if is_conditional => not_implemented,
            Self::ConditionalWritesAndTrailers if has_trailer => not_implemented,
            Self::Unencrypted
                if begins_object && value("x-amz-server-side-encryption").is_none() =>
            {
                Decision::Refuse(403, "AccessDenied")
            }
            Self::Writes if matches!(method, "PUT" | "POST") => {
                Decision::Refuse(403, "AccessDenied")
            }
            _ => Decision::Pass,
        }
    }
}

fn headers(head: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(head);
    let lines = text.lines().skip(1);
    let headers = lines.filter_map(|line| line.split_once(':'));
    headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// Removes the `If-None-Match` header from a head. The signature covered it, so the request is
/// signed again.
fn without_condition(head: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head).into_owned();
    let request_line = text.lines().next().unwrap();
    let mut words = request_line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let all = headers(head);
    let kept: Vec<_> = all
        .iter()
        .filter(|(name, _)| {
            !["if-none-match", "authorization", "x-amz-date"].contains(&name.as_str())
        })
        .collect();
    let value = |name: &str| all.iter().find(|(known, _)| known == name).unwrap();
    let (_, host) = value("host");
    let (_, content) = value("x-amz-content-sha256");

    let identity = Credentials::new(s3::ACCESS_KEY, s3::SECRET_KEY, None, None, "tests").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap();
    let request = SignableRequest::new(
        method,
        format!("http://{host}{target}"),
        kept.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Precomputed(content.clone()),
    );
    let (signed, _) = sign(request.unwrap(), &parameters.into())
        .unwrap()
        .into_parts();
    let (signed, _) = signed.into_parts();
    let mut changed = format!("{request_line}\r\n");
    let kept = kept
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let signed = signed.iter().map(|header| (header.name(), header.value()));
    for (name, value) in kept.chain(signed) {
        changed += &[name, ": ", value, "\r\n"].concat();
    }
    changed += "\r\n";
    changed.into_bytes()
}
