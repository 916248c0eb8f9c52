package client

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// Attributes by which a client asks for lifetimes of its own, in seconds, as
// in Keycloak.
const (
	attrAccessLifespan     = "access.token.lifespan"
	attrSessionIdle        = "client.session.idle.timeout"
	attrSessionMax         = "client.session.max.lifespan"
	attrOfflineSessionIdle = "client.offline.session.idle.timeout"
	attrOfflineSessionMax  = "client.offline.session.max.lifespan"

	attrDeviceCode     = "oauth2.device.code.lifespan"
	attrDeviceInterval = "oauth2.device.polling.interval"
)

// maxLifespan is as long as realm settings may say.
const maxLifespan = 10 * 365 * 24 * time.Hour

// Lifespans are the lifetimes that a client asks for; zero: the realm's.
type Lifespans struct {
	AccessToken                                      time.Duration
	SessionIdle, SessionMax, OfflineIdle, OfflineMax time.Duration // of client sessions
	DeviceCode, DeviceInterval                       time.Duration
}

// Lifespans of the client's own.
func (c Client) Lifespans() Lifespans {
	return Lifespans{
		AccessToken: cmp.Or(c.AccessTokenLifespan, c.lifespan(attrAccessLifespan)),
		SessionIdle: c.lifespan(attrSessionIdle), SessionMax: c.lifespan(attrSessionMax),
		OfflineIdle: c.lifespan(attrOfflineSessionIdle), OfflineMax: c.lifespan(attrOfflineSessionMax),
		DeviceCode: c.lifespan(attrDeviceCode), DeviceInterval: c.lifespan(attrDeviceInterval),
	}
}

// lifespan is an attribute that check has let pass.
func (c Client) lifespan(attribute string) time.Duration {
	n, err := strconv.ParseInt(c.Attributes[attribute], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// checkLifespans: an empty attribute is one that was not set (Keycloak's
// console writes them so).
func (c Client) checkLifespans() error {
	for _, name := range []string{attrAccessLifespan, attrSessionIdle, attrSessionMax, attrOfflineSessionIdle, attrOfflineSessionMax, attrDeviceCode, attrDeviceInterval} {
		value := c.Attributes[name]
		if value == "" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || n > int64(maxLifespan/time.Second) {
			return fmt.Errorf("attribute %s %.40q: want seconds, 0 to %d", name, value, int64(maxLifespan/time.Second))
		}
	}
	return nil
}
