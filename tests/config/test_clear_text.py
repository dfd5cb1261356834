"""A corpus of both kinds: what has to be found, and what people would switch the rule off for."""

import random
import string
import time

import pytest

from bootstrap.config.clear_text import find_secret, is_drawn
from bootstrap.config.guard import hosts_in

HEX, BASE36 = "0123456789abcdef", string.ascii_lowercase + string.digits
BASE62, BASE64 = string.ascii_letters + string.digits, string.ascii_letters + string.digits + "+/"

SECRETS = [
    ("AWS_ACCESS_KEY_ID", "AKIA" + "IOSFODNN7ABCDEFG", "an AWS access key"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYq8Zt5RkLm2", "a secret by its name, and drawn by lot"),
    ("ANYTHING", "-----BEGIN RSA PRIVATE KEY-----\nMIIE…", "a private key"),
    ("ANYTHING", "-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
    ("ANYTHING", "-----BEGIN PRIVATE KEY-----", "a private key"),
    ("X", "ghp_" + "a1B2" * 9, "a GitHub token"),
    ("X", "github_pat_" + "a1B2c3D4e5" * 7, "a GitHub token"),
    ("X", "glpat-" + "a1B2c3D4e5F6g7H8i9J0", "a GitLab token"),
    ("X", "xoxb-" + "123456789012-abcdefABCDEF", "a Slack token"),
    ("X", "https://hooks.slack.com/services/" + "T000AAAA/B000BBBB/abcdefABCDEF123456", "a Slack webhook"),
    ("PAYMENT", "sk_live_" + "51H8aBcDeFgHiJkLmNoPqRsT", "a Stripe key"),
    ("X", "AIza" + "SyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v", "a Google API key"),
    ("X", "SG." + "a" * 22 + "." + "b" * 43, "a SendGrid key"),
    ("X", "npm_" + "a1B2" * 9, "an npm token"),
    ("SESSION", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U", "a signed token (JWT)"),
    ("DATABASE_URL", "postgresql://app:Zk3vQ9pX@db.internal:5432/app", "a URL with a password"),
    ("REDIS_URL", "rediss://:p4ssw0rdZ9@cache.example.com:6379/0", "a URL with a password"),
    ("HOSTS", "amqp://a:b7Kq2@mq1.example.com,amqp://a:b7Kq2@mq2.example.com", "a URL with a password"),
    ("SENTRY_DSN", "https://abcdef:0123456789@sentry.example.com/3", "a URL with a password"),
    ("DB_PASSWORD", "hunter2!", "a password"),
    ("SMTP_PASS", "correct horse battery staple", "a password"),
    ("ADMIN_PASSWORD_OLD", "Tr0ub4dor&3", "a password"),
    ("HEROKU_API_KEY", "01234567-89ab-cdef-0123-456789abcdef", "a secret by its name, and drawn by lot"),
    ("SECRET_KEY_BASE", "".join(random.Random(1).choices(HEX, k=128)), "a secret by its name, and drawn by lot"),
    ("WEBHOOK_SECRET", "".join(random.Random(2).choices(BASE36, k=32)), "a secret by its name, and drawn by lot"),
    ("UNNAMED", "".join(random.Random(3).choices(BASE64, k=64)), "drawn by lot, as secrets are"),
]  # fmt: skip
ORDINARY = [
    ("LOG_LEVEL", "info"),
    ("DATABASE_URL", "postgresql://todo:never-beyond-this-box@127.0.0.1:5433/todo"),
    ("DATABASE_URL", "postgres://postgres:postgres@localhost/app"),
    ("DATABASE_URL", "postgres://app@db.internal/app"),
    ("DATABASE_URL", "postgres://user:$PASSWORD@db.internal/app"),
    ("DATABASE_URL", "postgres://user:<password>@db.internal/app"),
    ("DATABASE_URL", "postgres://user:changeme@db.internal/app"),
    ("API_URL", "https://api.example.com:8443/v1?mode=fast#top"),
    ("SENTRY_DSN", "https://0123456789abcdef0123456789abcdef@o12345.ingest.sentry.io/678"),
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("DB_PASSWORD", "changeme"),
    ("DB_PASSWORD", "password"),
    ("DB_PASSWORD", "${DB_PASSWORD}"),
    ("DB_PASSWORD", "<set me>"),
    ("DB_PASSWORD", "xxxxxxxx"),
    ("DB_PASSWORD", ""),
    ("DB_PASSWORD", "/run/secrets/db"),
    ("PASSWORD_MIN_LENGTH", "12"),
    ("PASSWORD_RESET_URL", "https://example.com/reset"),
    ("REQUIRE_PASSWORD", "false"),
    ("PRIVATE_KEY_FILE", "/etc/ssl/private/site.key"),
    ("SSL_KEY", "/etc/ssl/private/site.key"),
    ("CACHE_KEY", "users-by-region-v2"),
    ("SORT_KEY", "created_at"),
    ("PARTITION_KEY", "tenantId2AccountId3"),
    ("TOKEN_TTL", "3600"),
    ("TOKEN_ISSUER", "https://issuer.example.com"),
    ("AUTH", "basic"),
    ("API_KEY", "your-api-key-here"),
    ("API_KEY", "REPLACE_ME"),
    ("API_TOKEN", "dummy-token"),
    ("STRIPE_PUBLISHABLE_KEY", "pk_live_51H8aBcDeFgHiJkLmNoPqRsTuVwX"),
    ("RECAPTCHA_SITE_KEY", "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"),
    ("SSH_PUBLIC_KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1x2y3z ann@example"),
    ("CERTIFICATE", "-----BEGIN CERTIFICATE-----\nMIIB…"),
    ("GIT_COMMIT", "3ba30015f4cd1c8f0b1e2d3c4b5a69788796a5b4"),
    ("IMAGE", "registry.example.com/app@sha256:" + "0123456789abcdef" * 4),
    ("CHECKSUM", "sha256:" + "0123456789abcdef" * 4),
    ("TARGET_GROUP", "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/todo/0123456789abcdef"),
    ("VPC", "vpc-0a1b2c3d4e5f67890"),
    ("USER_POOL", "eu-west-1_aBcDeFgH1"),
    ("REQUEST_ID", "01234567-89ab-cdef-0123-456789abcdef"),
    ("JAVA_OPTS", "-Xmx512m -XX:+UseG1GC -Dfile.encoding=UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
    ("ALLOWED_HOSTS", "www.example.com,api.example.com,10.0.0.1"),
    ("FEATURES", "NewCheckout2,FasterSearch3,DarkModeForEverybodyOnTheTeam4"),
    ("QUERY", "select id, name from users where created_at > now() - interval '1 day'"),
    ("JSON", '{"level": "info", "handlers": ["console", "file"], "version": 1}'),
    ("USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"),
    ("CLASS_NAME", "com.example.orders.v2.OrderServiceFactoryBeanConfigurationImpl"),
    ("CIDRS", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"),
    ("GREETING", "Grüße, 你好, 🙂"),
    ("SCRIPT_HASH", "sha384-oqVuAfXRKap7fdgcCY5uykM6R9GqQ8KuxyZ4F9CtSk3mN7vBx2pLwEjHd1TzYbRa"),
    ("ROOT_CERT", "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJRTESMBAGA1UEChMJQmFsdGltb3Jl"),
    (
        "BROKERS",
        "b-1.todo.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9094,b-2.todo.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9094",
    ),
    ("CDN", "d111111abcdef8.cloudfront.net"),
    ("GOOGLE_CLIENT_ID", "123456789012-a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6.apps.googleusercontent.com"),
    ("TWILIO_ACCOUNT_SID", "AC" + "0123456789abcdef" * 2),
    ("S3_KEY", "assets/2024/01/img_001-large.png"),
    ("CRON", "*/5 8-18 * * 1-5"),
    ("DATE_FORMAT", "%Y-%m-%dT%H:%M:%S%z"),
    ("COLOUR", "#a1b2c3"),
    ("SUBNETS", "subnet-0a1b2c3d4e5f67890,subnet-0f9e8d7c6b5a43210"),
    ("REGEX", "^(?P<year>[0-9]{4})-(?P<month>[0-9]{2})$"),
]


@pytest.mark.parametrize(("key", "value", "kind"), SECRETS)
def test_a_secret_is_found(key, value, kind):
    assert find_secret(key, value) == kind


@pytest.mark.parametrize(("key", "value"), ORDINARY)
def test_an_ordinary_value_is_left_alone(key, value):
    assert find_secret(key, value) is None


@pytest.mark.parametrize(
    ("alphabet", "length", "least"), [(HEX, 32, 990), (BASE36, 24, 900), (BASE62, 20, 950), (BASE64, 40, 990)]
)
def test_nearly_everything_drawn_by_lot_looks_so(alphabet, length, least):
    dice = random.Random(f"{alphabet} {length}")
    found = sum(is_drawn("".join(dice.choices(alphabet, k=length))) for _ in range(1000))
    assert found >= least


def test_identifiers_made_of_words_do_not_look_drawn():
    dice = random.Random(7)
    words = ["order", "Service", "v2", "eu", "west", "1", "Config", "main", "db", "2024", "Primary", "API", "queue"]
    names = [dice.choice("-_./").join(dice.choices(words, k=dice.randrange(3, 7))) for _ in range(1000)]
    found = [name for name in names if is_drawn(name)]
    assert len(found) <= 30, found[:10]


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a-",
        "eyJ-",
        "eyJaaaaaaaaaaaa.eyJ",
        "a://",
        "a://b:",
        "a://b:c",
        "a.",
        "-----BEGIN A ",
        "sk-",
        "$",
        "A1",
        "a,",
    ],
)
def test_no_value_takes_long(piece):
    value = (piece * 131_072)[:131_072]
    begun = time.process_time()
    find_secret("API_TOKEN", value)
    list(hosts_in(value))
    assert time.process_time() - begun < 3
