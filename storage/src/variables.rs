//! Environment variables of the store: some of the `AWS_*` that the AWS SDKs read, and `S3_*` for
//! what those leave open.

use darkroom_config::Variable;

pub(crate) const AWS_ENDPOINT_URL_S3: Variable =
    Variable::new("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
        .otherwise("AWS itself")
        .about("endpoint of the store; `AWS_*` are as the AWS SDKs read them");
pub(crate) const AWS_REGION: Variable = Variable::new("AWS_REGION", "eu-central-1")
    .otherwise("required at AWS")
    .about("region of the store");
pub(crate) const S3_BUCKET: Variable = Variable::new("S3_BUCKET", "darkroom")
    .defaults_to("darkroom")
    .about("bucket");
pub(crate) const S3_KEY_PREFIX: Variable = Variable::new("S3_KEY_PREFIX", "production/")
    .about("prefix of all keys, for example `production/`");
/// Endpoint of presigned URLs.
pub const S3_PUBLIC_ENDPOINT: Variable =
    Variable::new("S3_PUBLIC_ENDPOINT", "https://media.example.com")
        .otherwise("the endpoint")
        .about("endpoint of presigned URLs, as browsers reach it");
pub(crate) const S3_PATH_STYLE: Variable = Variable::new("S3_PATH_STYLE", "true")
    .otherwise("true with an endpoint")
    .about("path-style addressing: `true` or `false`");
pub(crate) const S3_CHECKSUMS: Variable = Variable::new("S3_CHECKSUMS", "when_required")
    .defaults_to("when_supported")
    .about("`when_required` to send no optional checksums; signatures protect the bytes instead, which is slower");
pub(crate) const S3_CONDITIONAL_WRITES: Variable = Variable::new("S3_CONDITIONAL_WRITES", "false")
    .otherwise("probed")
    .about("support for conditional writes (`If-None-Match`); with `false`, a key is looked up before it is written");
pub(crate) const S3_SERVER_SIDE_ENCRYPTION: Variable =
    Variable::new("S3_SERVER_SIDE_ENCRYPTION", "aws:kms")
        .otherwise("the bucket's")
        .about("`AES256`, `aws:kms` or `aws:kms:dsse`");
pub(crate) const S3_KMS_KEY_ID: Variable = Variable::new("S3_KMS_KEY_ID", "alias/darkroom")
    .otherwise("the bucket's")
    .about("key for `aws:kms`");

/// All variables of this module.
pub const VARIABLES: [Variable; 10] = [
    AWS_ENDPOINT_URL_S3,
    AWS_REGION,
    S3_BUCKET,
    S3_KEY_PREFIX,
    S3_PUBLIC_ENDPOINT,
    S3_PATH_STYLE,
    S3_CHECKSUMS,
    S3_CONDITIONAL_WRITES,
    S3_SERVER_SIDE_ENCRYPTION,
    S3_KMS_KEY_ID,
];
