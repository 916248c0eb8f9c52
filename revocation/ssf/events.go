package ssf

// The types of events (SSF 1.0 §8.1.4, CAEP 1.0 §3, RISC 1.0 §2).
const (
	ssfEvent  = "https://schemas.openid.net/secevent/ssf/event-type/"
	caepEvent = "https://schemas.openid.net/secevent/caep/event-type/"
	riscEvent = "https://schemas.openid.net/secevent/risc/event-type/"

	Verification  = ssfEvent + "verification"
	StreamUpdated = ssfEvent + "stream-updated"

	SessionRevoked    = caepEvent + "session-revoked"
	TokenClaimsChange = caepEvent + "token-claims-change"
	CredentialChange  = caepEvent + "credential-change"

	AccountDisabled      = riscEvent + "account-disabled"
	AccountPurged        = riscEvent + "account-purged"
	CredentialCompromise = riscEvent + "credential-compromise"
	SessionsRevoked      = riscEvent + "sessions-revoked"
)

// The ways in which events are delivered (SSF 1.0 §6).
const (
	DeliveryPush = "urn:ietf:rfc:8935"
	DeliveryPoll = "urn:ietf:rfc:8936"
)
