//! The greeting, the login, invitations and credentials: the worker relays, the daemon decides.

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::client_protocol::WorkerToClient;
use berth_common::credentials::{DeviceId, DeviceKey, NewAccount, NewCredential};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UserName};

use super::requests::Answering;
use super::state::Phase;
use super::{Ctx, MOST_TRANSFERS, Serving, SessionActor, Stage, Taken, taken};
use crate::broker::{Accepted, BrokerError};
use crate::filesystem::FilesystemActor;

impl SessionActor {
    pub(super) fn greet(&mut self, version: Option<u16>, ctx: &mut Ctx) -> Taken {
        let Some(version) = version else {
            self.refuse(ErrorCode::Version, ctx);
            return taken();
        };
        let site_challenge = self.parts.site_challenge;
        self.state.enter(match site_challenge {
            Some(_) => Phase::Site,
            None => Phase::LoginFirst,
        });
        // A stranger to a site with a secret learns nothing of the server.
        let server = match site_challenge {
            Some(_) => String::new(),
            None => self.parts.setup.server.clone(),
        };
        let max_transfers = self.parts.setup.max_transfers.min(MOST_TRANSFERS);
        self.tell(Some(WorkerToClient::Hello { version, server, max_transfers, site_challenge }))
    }

    pub(super) fn site_proof(&mut self, proof: [u8; 32]) -> Taken {
        let broker = self.parts.broker.clone();
        self.ask(async move { broker.site_proof(proof).await }, |actor, (), _| {
            actor.state.enter(Phase::LoginFirst);
            Some(WorkerToClient::SiteAccepted)
        })
    }

    pub(super) fn login_first(&mut self, message: Vec<u8>) -> Taken {
        let broker = self.parts.broker.clone();
        self.ask(async move { broker.login_first(message).await }, |actor, message, _| {
            actor.state.enter(Phase::LoginFinal);
            Some(WorkerToClient::LoginChallenge { message })
        })
    }

    pub(super) fn login_final(&mut self, message: Vec<u8>) -> Taken {
        let broker = self.parts.broker.clone();
        self.ask(async move { broker.login_final(message).await }, Self::accepted)
    }

    /// The client has logged in, and its filer is there.
    fn accepted(&mut self, accepted: Accepted, ctx: &mut Ctx) -> Option<WorkerToClient> {
        let Accepted { message, user, filer } = accepted;
        let Ok(filesystem) = FilesystemActor::start_on(filer, ctx.address().recipient()) else {
            self.refuse(ErrorCode::Internal, ctx);
            return None;
        };
        let services = self.parts.services.clone();
        let broker = self.parts.broker.clone();
        let answering = Answering::new(filesystem.clone(), services, broker);
        self.stage = Stage::Serving(Box::new(Serving { filesystem, answering }));
        self.state.enter(Phase::Serving);
        self.parts.services.routes.open();
        self.watch_idleness(ctx);
        self.rest_soon(ctx);
        Some(WorkerToClient::LoginAccepted { message, user })
    }

    pub(super) fn login_device(
        &mut self,
        user: UserName,
        key: DeviceKey,
        signature: [u8; 64],
    ) -> Taken {
        let broker = self.parts.broker.clone();
        let asked = async move { broker.login_device(user, key, signature).await };
        self.ask(asked, Self::accepted)
    }

    pub(super) fn join_first(&mut self, message: Vec<u8>, account: NewAccount) -> Taken {
        let broker = self.parts.broker.clone();
        let asked = async move { broker.join_first(message, account).await };
        self.ask(asked, |actor, message, _| {
            actor.state.enter(Phase::JoinFinal);
            Some(WorkerToClient::JoinChallenge { message })
        })
    }

    pub(super) fn join_final(&mut self, message: Vec<u8>) -> Taken {
        let broker = self.parts.broker.clone();
        self.ask(async move { broker.join_final(message).await }, |actor, message, _| {
            // The new user may log in.
            actor.state.enter(Phase::LoginFirst);
            Some(WorkerToClient::Joined { message })
        })
    }

    pub(super) fn credential_first(
        &mut self,
        id: RequestId,
        message: Vec<u8>,
        credential: NewCredential,
    ) -> Taken {
        let broker = self.parts.broker.clone();
        let asked = async move { broker.credential_first(message, credential).await };
        self.ask(asked, move |actor, challenge, _| match challenge {
            Ok(message) => {
                actor.state.challenge(id);
                Some(WorkerToClient::CredentialChallenge { id, message })
            }
            Err(error) => Some(actor.credentials_refused(id, error)),
        })
    }

    pub(super) fn credential_final(&mut self, id: RequestId, message: Vec<u8>) -> Taken {
        let broker = self.parts.broker.clone();
        let asked = async move { broker.credential_final(message).await };
        self.ask(asked, move |actor, changed, _| Some(actor.credentials_changed(id, changed)))
    }

    pub(super) fn devices(&mut self, id: RequestId) -> Taken {
        let broker = self.parts.broker.clone();
        self.ask(async move { broker.devices().await }, move |actor, devices, _| {
            Some(match devices {
                Ok(devices) => {
                    actor.state.free(id);
                    WorkerToClient::Devices { id, devices }
                }
                Err(error) => actor.credentials_refused(id, error),
            })
        })
    }

    pub(super) fn revoke_devices(&mut self, id: RequestId, devices: Vec<DeviceId>) -> Taken {
        let broker = self.parts.broker.clone();
        let asked = async move { broker.revoke_devices(devices).await };
        self.ask(asked, move |actor, changed, _| Some(actor.credentials_changed(id, changed)))
    }

    fn credentials_changed(
        &mut self,
        id: RequestId,
        changed: Result<(), ErrorCode>,
    ) -> WorkerToClient {
        match changed {
            Ok(()) => {
                self.state.free(id);
                WorkerToClient::Done { id }
            }
            Err(error) => self.credentials_refused(id, error),
        }
    }

    fn credentials_refused(&mut self, id: RequestId, error: ErrorCode) -> WorkerToClient {
        self.state.free(id);
        WorkerToClient::Failed { id, error }
    }

    /// Asks the daemon; when it has answered, `then` says what the client is told. Nothing more is read
    /// from the client meanwhile.
    fn ask<T: 'static>(
        &self,
        question: impl Future<Output = Result<T, BrokerError>> + 'static,
        then: impl FnOnce(&mut Self, T, &mut Ctx) -> Option<WorkerToClient> + 'static,
    ) -> Taken {
        let asked = question.into_actor(self).map(|answer, actor, ctx| match answer {
            // An answer that comes while the session ends changes nothing any more.
            Ok(_) if actor.state.phase() == Phase::Ending => None,
            Ok(answer) => then(actor, answer, ctx),
            // An order to end is on its way.
            Err(BrokerError::Gone) => None,
            Err(BrokerError::Unexpected) => {
                actor.lost(ctx);
                None
            }
        });
        Box::pin(asked.then(|message, actor, _| actor.tell(message)))
    }
}
