# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that a release has and another has not: migrations, permissions, queues, jobs. Data, of the two releases that are stood in for."""

from __future__ import annotations

from immich_server import MAJOR

OLD_MIGRATIONS = """
1744910873969-InitialMigration 1744991379464-AddNotificationsTable 1745244781846-AddUserAvatarColorColumn
1745902563899-AddAssetVisibilityColumn 1746636476623-DropExtraIndexes 1746768490606-AddUserPincode 1746844028242-AddLockedVisibilityEnum
1746987967923-AddPinExpiresAtColumn 1747329504572-AddNewSessionColumns 1747338664832-SessionRename 1747664684909-AddAlbumAuditTables
1749067526135-UserOnboardingDefault 1750107668827-PartnerCreateId 1750189909087-AddAlbumUserCreateFields
1750323941566-UnsetPrewarmDimParameter 1750676477029-AlbumAssetUpdateId 1750694237564-AlbumAssetAuditTable
1750780093818-AddAlbumToAssetDeleteTrigger 1751035357937-MemorySyncChanges 1751304834247-StackSyncChanges 1751924596408-AddOverrides
1752004072340-UpdateIndexOverrides 1752152941084-PeopleAuditTable 1752161055253-RenameGeodataPKConstraint 1752161055254-AddActivityAssetFk
1752169992364-AddIsPendingSyncReset 1752250924342-UserMetadataSync 1752267649968-StandardizeNames 1752759108283-ConvertToAbsolutePaths
1753104909784-AssetFaceUpdateIdAndAuditTable 1753464178233-RenameApiKeyPermissions 1753471866748-AddSharedLinkSlug
1753800911775-ProfileImageCheckpointRemoval 1754389095885-ResetAlbumAssetSync 1756318797207-AssetMetadataTables
1758705774125-CreateAssetOCRTable 1758705789125-CreateOCRSearchTable 1758705804128-UpsertOcrAssetJobStatus
1761078763279-AddAppVersionColumnToSession 1761755618862-FixColumnNames 1762297277677-AddPluginAndWorkflowTables
1764483051488-OCRBigramsForCJK 1764698859174-SidecarInAssetFile 1764705680041-ChangeWorkflowTableColumnsName
1764957138636-AddLockedPropertiesToAssetExif 1768336661963-AddAssetWidthHeight 1768336671610-CreateAssetEditTable
1768336694315-CreateIsVisibleColumns 1768587436457-AddEditCountToAsset 1768757482271-SwitchToIsEdited 1768828334807-AddIsEditedToAssetFile
1768847456553-AddTagsToExif 1769105700133-AddAssetEditSequence 1769441657564-AddIsProgressiveColumn
1769635093204-DropThumbnailJobStatusColumns
""".split()
NEW_MIGRATIONS = """
1771478781948-PeopleSearchIndex 1771535611395-ConvertRating0ToNull 1771639515206-AddIsTransparentColumn 1771873044511-ChangesTokensToBuffers
1771873813973-AssetEditSync 1772121424533-AddAssetExifGistEarthcoord 1772129818245-FixStupidWhiteSpace 1772609167000-UpdateOpusCodecName
1773242919341-EncodedVideoAssetFiles 1773956345315-DuplicateSharedLinkAssets 1774393726320-AssetFaceSyncReset
1774548649115-AddChecksumAlgorithm.ts 1775165531374-AddPersonNameTrigramIndex 1776217577402-DropAuditTable
1776263790468-DropDeviceIdAndDeviceAssetId 1776332807985-SetOAuthAllowInsecureRequests 1776442031775-AddOauthSidToSession
1776792304485-ReconcileSqlToolsUpgradeChanges 1776848612954-MigrateAlbumOwnerIdToAlbumUser 1777415973792-AddVideoStreamTables
1777654048096-CreateAudioVideoTables 1777667825574-ChangeDurationToInteger 1777897107000-PartnerAssetSyncReset
1778614946174-UpdateWorkflowTables 1779806699547-AddPluginTemplates 1780435471692-DeleteMismatchedAssetFaces
1780592070031-ConvertNegativeRatingToNull 1780592071031-AssetOcrSync 1781089983296-CreateIntegrityReportTable
1782414436633-AddPluginMethodAllowedHosts 1782500000000-RestoreLivePhotoStillVisibility 1784647658615-AddOAuthBearerTokenToSession
1784836013770-MinFacePreferenceMigration
""".split()
# A newer release knows those of an older one too.
MIGRATIONS = tuple(OLD_MIGRATIONS + (NEW_MIGRATIONS if MAJOR >= 3 else []))

_PERMISSIONS = """
all activity.create activity.read activity.update activity.delete activity.statistics apiKey.create apiKey.read apiKey.update apiKey.delete
asset.read asset.update asset.delete asset.statistics asset.share asset.view asset.download asset.upload asset.replace asset.copy
asset.derive asset.edit.get asset.edit.create asset.edit.delete album.create album.read album.update album.delete album.statistics
album.share album.download albumAsset.create albumAsset.delete albumUser.create albumUser.update albumUser.delete auth.changePassword
authDevice.delete archive.read backup.list backup.download backup.upload backup.delete duplicate.read duplicate.delete face.create face.read
face.update face.delete folder.read job.create job.read library.create library.read library.update library.delete library.statistics
timeline.read timeline.download maintenance map.read map.search memory.create memory.read memory.update memory.delete memory.statistics
memoryAsset.create memoryAsset.delete notification.create notification.read notification.update notification.delete partner.create
partner.read partner.update partner.delete person.create person.read person.update person.delete person.statistics person.merge
person.reassign pinCode.create pinCode.update pinCode.delete plugin.create plugin.read plugin.update plugin.delete server.about
server.apkLinks server.storage server.statistics server.versionCheck serverLicense.read serverLicense.update serverLicense.delete
session.create session.read session.update session.delete session.lock sharedLink.create sharedLink.read sharedLink.update sharedLink.delete
stack.create stack.read stack.update stack.delete sync.stream syncCheckpoint.read syncCheckpoint.update syncCheckpoint.delete
systemConfig.read systemConfig.update systemMetadata.read systemMetadata.update tag.create tag.read tag.update tag.delete tag.asset
user.read user.update userLicense.create userLicense.read userLicense.update userLicense.delete userOnboarding.read userOnboarding.update
userOnboarding.delete userPreference.read userPreference.update userProfileImage.create userProfileImage.read userProfileImage.update
userProfileImage.delete queue.read queue.update queueJob.create queueJob.read queueJob.update queueJob.delete workflow.create workflow.read
workflow.update workflow.delete adminUser.create adminUser.read adminUser.update adminUser.delete adminSession.read adminAuth.unlinkAll
""".split()
PERMISSIONS = tuple(name for name in _PERMISSIONS if MAJOR < 3 or name != "asset.replace")

_QUEUES = """
thumbnailGeneration metadataExtraction videoConversion faceDetection facialRecognition smartSearch duplicateDetection backgroundTask
storageTemplateMigration migration search sidecar library notifications backupDatabase ocr workflow integrityCheck editor
""".split()
QUEUES = tuple(name for name in _QUEUES if MAJOR >= 3 or name != "integrityCheck")

# Those that POST /api/jobs starts.
_JOBS = """
person-cleanup tag-cleanup user-cleanup memory-cleanup memory-create backup-database
""".split()
_CHECKS = ("missing-files", "untracked-files", "checksum-mismatch")
MANUAL_JOBS = tuple(_JOBS + [f"integrity-{name}{end}" for end in ("", "-refresh", "-delete-all") for name in _CHECKS if MAJOR >= 3])
