//! Keys that are read but that this build does not serve yet: each gives one notice, so that none is lost silently.

use crate::conf::file::{File, Given, ProviderName};

/// One notice per such key that the file has.
pub(super) fn notices(file: &File) -> Vec<String> {
    let (gateway, deployment) = (&file.gateway, &file.deployment);
    let etcd = &deployment.etcd;
    let given = |value: &Option<Given>| value.is_some();
    let provider = deployment.config_provider.as_ref().map_or(ProviderName::Embedded, |name| name.value);
    let tls = &etcd.tls;
    let for_tls = [tls.cert.is_some(), tls.key.is_some(), tls.ca.is_some(), tls.verify.is_some(), tls.sni.is_some()].contains(&true);
    let for_etcd =
        [etcd.host.is_some(), etcd.timeout.is_some(), etcd.user.is_some(), etcd.password.is_some(), etcd.last_good.is_some(), for_tls];
    let unused_etcd = provider != ProviderName::Etcd && for_etcd.contains(&true);
    let unused_embedded = provider == ProviderName::Etcd && deployment.embedded.path.is_some();
    [
        (
            gateway.ssl.enable == Some(true) && gateway.ssl.listen.is_none(),
            "gateway.ssl.enable: opens no port without gateway.ssl.listen; stream listeners with tls need no switch",
        ),
        (gateway.ssl.enable == Some(false) && gateway.ssl.listen.is_some(), "gateway.ssl.listen: off, since gateway.ssl.enable is false"),
        (given(&gateway.dns_resolver), "gateway.dns_resolver: this build asks the system's resolver only"),
        (unused_etcd, "deployment.etcd: not used by config_provider embedded, except prefix"),
        (unused_embedded, "deployment.embedded: not used by config_provider etcd"),
        (deployment.file.path.is_some(), "deployment.file: not used by this config_provider"),
    ]
    .into_iter()
    .filter(|(applies, _)| *applies)
    .map(|(_, text)| text.to_owned())
    .collect()
}
