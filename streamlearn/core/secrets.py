"""What is never shown: properties of a client that hold a secret, told by their names, and what a URL holds of it.

What is not known and looks like a secret counts as one: to hide too much costs a look into the file.
"""

import re
from collections.abc import Mapping

# librdkafka's own: password, passphrase, pem, secret, credentials, private key, oauthbearer.config, a command that may
# hold a password (kinit.cmd), and the token's endpoint, whose URL may hold one. Java's, Schema Registry's and brokers':
# jaas, user.info, and whatever ends with `key`.
_SECRET = re.compile(
    r"passw|passphrase|passcode|secret|token|credential|private|jaas|oauthbearer[._]config|kinit|user[._]info|pem\b|key$",
    re.IGNORECASE,
)
# Of what authenticates and encrypts only what is known to be no secret is shown: `sasl.pasword` may be one.
_FAMILY = re.compile(r"^(sasl|ssl)(?![a-z])", re.IGNORECASE)
_PUBLIC = re.compile(
    r"^sasl[._](mechanisms?|username|kerberos[._](service[._]name|principal|keytab|min[._]time[._]before[._]relogin)"
    r"|oauthbearer[._](method|scope|extensions|sub[._]claim[._]name|client[._]id|grant[._]type|metadata[._].*"
    r"|assertion[._](algorithm|jwt[._]template[._]file|claim[._].*)))$"
    r"|^ssl[._](cipher[._]suites|curves[._]list|sigalgs[._]list|engine[._]id|providers"
    r"|endpoint[._]identification[._]algorithm|ca[._]certificate[._]stores)$",
    re.IGNORECASE,
)
_PLACE = re.compile(r"[._](file|location|keytab)$", re.IGNORECASE)  # says where a secret lies, which is none


def is_secret(name: str) -> bool:
    """Say whether what a property of this name holds is never to be shown."""
    if _PLACE.search(name):
        return False
    unknown = bool(_FAMILY.search(name)) and not _PUBLIC.search(name)
    return unknown or bool(_SECRET.search(name))


def without(text: str, properties: Mapping[str, object]) -> str:
    """Return the text without the secrets among these properties, whoever wrote them into it."""
    values = {str(value) for name, value in properties.items() if is_secret(name) and value}
    for value in sorted(values, key=len, reverse=True):  # one may be a part of another
        text = text.replace(value, "[hidden]")
    return text


def hidden(path: str) -> str:
    """Return the path as it may be shown: without user, password and query of a URL."""
    return re.sub(r"\?.*", "?********", re.sub(r"://.*@", "://********@", path, flags=re.DOTALL), flags=re.DOTALL)
