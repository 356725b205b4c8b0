"""A machine that is the same wherever the tests run."""

from valija.config import Facts, trust_fault
from valija.policy.networks import Gateway

FACTS = Facts(
    hostname=lambda: "host.example.org",
    cores=lambda: 4,
    gateways=lambda: {Gateway("172.17.0.1", "container bridge"), Gateway("192.0.2.1", "default")},
    is_local_address=lambda address: address in ("192.0.2.7", "2001:db8::7"),
    trust_fault=trust_fault,
)
