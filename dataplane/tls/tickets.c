/* tickets.c - see tickets.h. */
#include "dataplane/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/rand.h"
#include "dataplane/config/config.h"
#include "dataplane/tls/tls.h"

/* Fetched once: by name it would be looked up with every ticket. */
static EVP_CIPHER *aes_256_cbc;

__attribute__((destructor)) static void forget_cipher(void)
{
    EVP_CIPHER_free(aes_256_cbc);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int ticket_key_parse(struct str hex, struct ticket_key *out, struct err *e)
{
    unsigned char bytes[sizeof(out->aes) + sizeof(out->hmac)];
    bool ok = hex.len == 2 * sizeof(bytes);

    for (size_t i = 0; ok && i < sizeof(bytes); i++) {
        int high = nibble(hex.p[2 * i]), low = nibble(hex.p[2 * i + 1]);

        ok = high >= 0 && low >= 0;
        bytes[i] = ok ? (unsigned char)(high << 4 | low) : 0;
    }
    if (!ok)
        return err_set(e, ERR_INVALID, "expected %zu hexadecimal digits", 2 * sizeof(bytes));
    memcpy(out->aes, bytes, sizeof(out->aes));
    memcpy(out->hmac, bytes + sizeof(out->aes), sizeof(out->hmac));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return 0;
}

static uint32_t in_use(const struct ticket_ring *ring)
{
    return ring->n > 1 ? 1 : 0;
}

const struct ticket_key *ticket_ring_use(const struct ticket_ring *ring)
{
    return ring && ring->n ? &ring->v[in_use(ring)] : NULL;
}

const struct ticket_key *ticket_ring_find(const struct ticket_ring *ring, const unsigned char name[16],
                                          bool *renew_out)
{
    for (uint32_t i = 0; ring && i < ring->n; i++) {
        if (memcmp(&ring->v[i].name, name, sizeof(ring->v[i].name)) != 0)
            continue;
        *renew_out = i > in_use(ring);
        return &ring->v[i];
    }
    return NULL;
}

static int set_up(const struct ticket_key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    static char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof(digest) - 1),
                                 OSSL_PARAM_construct_end()};

    return EVP_CipherInit_ex(cipher, aes_256_cbc, NULL, k->aes, iv, encrypt) == 1 &&
           EVP_MAC_init(mac, k->hmac, sizeof(k->hmac), params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 ends the handshake, 0 goes on without the ticket. */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int encrypt)
{
    const struct config *config = tls_config_of(ssl);
    const struct ticket_ring *ring = config ? config_ticket_keys(config) : NULL;
    const struct ticket_key *k;
    bool renew = false;

    if (encrypt) {
        k = ticket_ring_use(ring);
        if (!k)
            return 0;
        memcpy(name, &k->name, sizeof(k->name));
        rand_bytes(iv, 16); /* AES's block */
        return set_up(k, iv, cipher, mac, 1) ? 1 : -1;
    }
    k = ticket_ring_find(ring, name, &renew);
    if (!k)
        return 0;
    if (!set_up(k, iv, cipher, mac, 0))
        return -1;
    return renew || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1; /* TLS 1.3 tickets are used once */
}

int tickets_use(SSL_CTX *ctx)
{
    if (!aes_256_cbc)
        aes_256_cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    return aes_256_cbc && SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 ? 0 : -1;
}
