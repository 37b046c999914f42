// A member of the mesh, past its handshake, that seals whatever it likes into records: nothing crashes, the plaintext
// that comes out is what went in and in order, and what the server seals meanwhile can be read by its peer.
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <string>

#include "fuzz/byte_source.h"
#include "fuzz/fuzz_target.h"
#include "test_ca.h"
#include "tls/tls_conn.h"

namespace {

using weft::Buffer;
using weft::ContentType;
using weft::RecordKey;
using weft::fuzz::ByteSource;

struct Secrets {
  std::vector<uint8_t> client;
  std::vector<uint8_t> server;
};

std::vector<uint8_t> FromHex(std::string_view hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

void OnKeyLog(const SSL* ssl, const char* line) {
  auto* secrets = static_cast<Secrets*>(SSL_get_app_data(ssl));
  const std::string_view text(line);
  const std::string_view value = text.substr(text.rfind(' ') + 1);
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) secrets->client = FromHex(value);
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) secrets->server = FromHex(value);
}

struct Mesh {
  weft::test::TestCa ca;
  std::shared_ptr<const weft::IdentityContext> server;
  weft::SslCtxPtr client{SSL_CTX_new(TLS_client_method())};

  Mesh() {
    const std::string name = "spiffe://cluster.local/ns/a/sa/server";
    const auto svid = ca.Issue(name);
    auto context = weft::IdentityContext::Create(name, svid.chain, svid.key, ca.roots());
    FUZZ_CHECK(context.has_value());
    server = *context;
    const auto own = ca.Issue("spiffe://cluster.local/ns/a/sa/client");
    const weft::BioPtr chain(BIO_new_mem_buf(own.chain.data(), static_cast<int>(own.chain.size())));
    const weft::BioPtr key(BIO_new_mem_buf(own.key.data(), static_cast<int>(own.key.size())));
    const weft::X509Ptr leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
    const weft::EvpKeyPtr private_key(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    SSL_CTX_use_certificate(client.get(), leaf.get());
    SSL_CTX_use_PrivateKey(client.get(), private_key.get());
    SSL_CTX_set_keylog_callback(client.get(), OnKeyLog);
    constexpr unsigned char kAlpn[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(client.get(), kAlpn, sizeof kAlpn);
  }
};

class Driver final : public weft::PlainSink {
 public:
  explicit Driver(ByteSource& source) : source_(source) {
    static const Mesh mesh;
    server_ = std::move(*weft::TlsConn::Server(mesh.server));
    const weft::SslPtr client(SSL_new(mesh.client.get()));
    SSL_set_app_data(client.get(), &secrets_);
    Handshake(client.get());
    const auto suite = static_cast<uint16_t>(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client.get())));
    write_ = RecordKey::Create(suite, secrets_.client);
    read_ = RecordKey::Create(suite, secrets_.server);
    FUZZ_CHECK(write_ && read_);
  }

  void Run() {
    while (!source_.done() && alive_) Step();
    FUZZ_CHECK(received_ == sent_.substr(0, received_.size()));
    if (alive_ && !server_->peer_closed()) FUZZ_CHECK(received_ == sent_);
  }

 private:
  void OnPlain(std::span<const uint8_t> bytes) override { received_ += weft::fuzz::AsText(bytes); }

  void Handshake(SSL* client) {
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    for (int round = 0; round < 4 && !server_->established(); ++round) {
      SSL_do_handshake(client);
      char* data = nullptr;
      const long n = BIO_get_mem_data(out, &data);
      std::vector<uint8_t> wire(data, data + n);
      BIO_reset(out);
      FUZZ_CHECK(server_->Feed(wire, out_, *this).has_value());
      BIO_write(in, out_.data(), static_cast<int>(out_.size()));
      out_.Clear();
    }
    FUZZ_CHECK(server_->established());
  }

  void Step() {
    switch (source_.Below(8)) {
      case 0:
      case 1:
        return SendData(source_.Take(source_.Byte()));
      case 2:
        return SendData(std::vector<uint8_t>(static_cast<size_t>(source_.Byte()) * 64 + 1, 'x'));
      case 3: {
        const uint8_t update[] = {24, 0, 0, 1, static_cast<uint8_t>(source_.Below(3))};
        Send(ContentType::kHandshake, update);
        FUZZ_CHECK(write_->Update());
        return;
      }
      case 4: {
        const auto type = static_cast<ContentType>(source_.Byte());
        const auto plain = source_.Take(source_.Byte());
        return type == ContentType::kApplicationData ? SendData(plain) : Send(type, plain);
      }
      case 5: {
        const auto raw = source_.Take(source_.Byte());
        spoilt_ = spoilt_ || !raw.empty();
        return Feed(raw);
      }
      case 6: {
        Buffer record(pool_);
        write_->Seal(ContentType::kApplicationData, source_.Take(source_.Byte()), record);
        record.data()[source_.Byte() % record.size()] ^= static_cast<uint8_t>(1 + source_.Below(255));
        // Whatever was changed, none of it may come out; the connection ends, now or when its length is complete.
        spoilt_ = true;
        return Feed(record.bytes());
      }
      default: {
        const std::vector<uint8_t> answer(source_.Byte());
        FUZZ_CHECK(server_->Seal(answer, out_).has_value());
        return ReadAnswers();
      }
    }
  }

  void SendData(std::span<const uint8_t> plain) {
    if (!spoilt_) sent_ += weft::fuzz::AsText(plain);
    Send(ContentType::kApplicationData, plain);
  }

  void Send(ContentType type, std::span<const uint8_t> plain) {
    Buffer record(pool_);
    FUZZ_CHECK(write_->Seal(type, plain, record));
    Feed(record.bytes());
  }

  void Feed(std::span<const uint8_t> wire) {
    // In two pieces, in memory of its own size: whoever reads beyond it is seen.
    const size_t cut = wire.empty() ? 0 : source_.Byte() % (wire.size() + 1);
    for (const auto part : {wire.first(cut), wire.subspan(cut)}) {
      if (!alive_ || server_->peer_closed()) return;
      std::vector<uint8_t> copy(part.begin(), part.end());
      alive_ = server_->Feed(copy, out_, *this).has_value();
      ReadAnswers();
    }
  }

  // What the server has sealed must open, with its key updates followed.
  void ReadAnswers() {
    while (!out_.empty()) {
      const auto bytes = out_.bytes();
      FUZZ_CHECK(bytes.size() >= weft::kRecordHeaderBytes);
      const size_t whole = weft::kRecordHeaderBytes + static_cast<size_t>(bytes[3] << 8 | bytes[4]);
      FUZZ_CHECK(bytes.size() >= whole);
      ContentType type{};
      std::span<uint8_t> plain;
      FUZZ_CHECK(read_->Open(bytes.first(whole), &type, &plain));
      if (type == ContentType::kHandshake) FUZZ_CHECK(plain.size() == 5 && plain[0] == 24 && read_->Update());
      out_.Consume(whole);
    }
  }

  ByteSource& source_;
  weft::BufferPool pool_;
  Buffer out_{pool_};
  Secrets secrets_;
  std::unique_ptr<weft::TlsConn> server_;
  std::optional<RecordKey> write_;
  std::optional<RecordKey> read_;
  std::string sent_;
  std::string received_;
  bool spoilt_ = false;
  bool alive_ = true;
};

}  // namespace

WEFT_FUZZ_TARGET("tls-records") {
  ByteSource source(input);
  Driver(source).Run();
}
