//! The volume of a package cache.

use api::labels;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use crate::controller::validate::{Cache, ValidatedServer, same};

pub(super) fn name(server: &ValidatedServer) -> String {
    format!("{}-cache", server.name)
}

pub(super) fn build(server: &ValidatedServer) -> Option<PersistentVolumeClaim> {
    let Some(Cache::Own { size, class, modes }) = server.cache() else { return None };
    let mut metadata = server.meta(name(server));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(labels::COMPONENT.to_owned(), labels::COMPONENT_CACHE.to_owned());
    Some(PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(modes.iter().map(same).collect()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
