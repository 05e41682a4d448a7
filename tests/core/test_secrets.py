"""What holds a secret is told by its name: over librdkafka's own properties, and over what it does not know."""

import pytest

from streamlearn.core.secrets import is_secret, without

SECRET = [  # of librdkafka 2.16
    "https.ca.pem",
    "sasl.kerberos.kinit.cmd",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_key",
]
LOOKS_SECRET = [  # Java's, and what somebody may invent
    "SASL.PASSWORD",
    "api.key",
    "aws.session.token",
    "basic.auth.credentials.source",
    "basic.auth.user.info",
    "sasl.jaas.config",
    "sasl",
    "sasl.pasword",
    "sasl.passwrod",
    "ssl.kex.paswd",
    "sasl_password",
    "ssl.keystore.key",
    "ssl.truststore.password",
    "vault.passcode",
]
SHOWN = [
    "client.id",
    "client.rack",
    "compression.type",
    "debug",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "message.max.bytes",
    "plugin.library.paths",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.mechanism",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.username",
    "security.protocol",
    "socket.keepalive.enable",
    "ssl.ca.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.cipher.suites",
    "ssl.key.location",
    "ssl.keystore.location",
]


@pytest.mark.parametrize("name", SECRET + LOOKS_SECRET)
def test_a_secret_is_told_by_its_name(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", SHOWN)
def test_what_helps_to_mend_is_shown(name):
    assert not is_secret(name)


def test_a_text_loses_its_secrets():
    properties = {"sasl.password": "hunter", "ssl.key.password": "hunter2", "client.id": "me", "ssl.key.pem": ""}
    assert without("me, hunter2 and hunter", properties) == "me, [hidden] and [hidden]"
