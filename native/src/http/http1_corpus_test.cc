// Requests as data, with what is understood of them, however they are cut into reads.
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "http/codec.h"
#include "memory_stream.h"

namespace weft::http {
namespace {

struct Case {
  std::string bytes;
  std::string understood;
};

std::string Unescape(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        bytes += '\r';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 't':
        bytes += '\t';
        break;
      case 'x':
        bytes += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
        break;
      default:
        bytes += text[i];
    }
  }
  return bytes;
}

std::vector<Case> Corpus() {
  std::ifstream file(std::string(WEFT_GOLDEN) + "/http1_requests.txt");
  std::vector<Case> cases;
  std::string line, text;
  while (std::getline(file, line)) {
    if (line.starts_with('#')) continue;
    if (!line.starts_with("= ")) {
      text += line;
      continue;
    }
    cases.push_back({Unescape(std::exchange(text, {})), line.substr(2)});
  }
  return cases;
}

// Answers what is whole and writes down what it understood.
class Reader final : public ServerConnection::Owner, public ServerStream::Handler {
 public:
  Reader() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) {
    auto stream = std::make_unique<test::MemoryStream>(context_);
    peer_ = stream.get();
    server_ = MakeHttp1Server(context_, std::move(stream), *this, {}, {});
  }
  void Say(std::string_view bytes) { peer_->Say(bytes); }
  const std::string& understood() const { return understood_; }

 private:
  ServerStream::Handler* OnRequest(ServerStream& stream, RequestHead& head, bool end) override {
    stream_ = &stream;
    Add(std::string(head.method) + " " + std::string(head.authority) + " " + std::string(head.path));
    if (end) Answer();
    return end ? nullptr : this;
  }
  void OnBadRequest(uint16_t status, std::string_view) override { Add("bad " + std::to_string(status)); }
  void OnConnectionDown(StreamEnd, std::string_view) override {}
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (end) OnRequestEnd(nullptr);
  }
  void OnRequestEnd(const HeaderMap* trailers) override {
    understood_ += " [" + body_ + "]";
    if (trailers != nullptr) {
      for (const Header& each : *trailers) understood_ += " " + std::string(each.name) + "=" + std::string(each.value);
    }
    Answer();
  }
  void OnStreamWritable() override {}
  void OnStreamClosed(StreamError) override {}

  void Add(const std::string& text) { understood_ += (understood_.empty() ? "" : "; ") + text; }
  void Answer() {
    body_.clear();
    Arena arena;
    ResponseHead head(arena);
    head.status = 204;
    stream_->SendHead(head, true);
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  test::MemoryStream* peer_ = nullptr;
  ServerStream* stream_ = nullptr;
  std::string understood_, body_;
  std::unique_ptr<ServerConnection> server_;
};

std::string Understood(std::string_view bytes, const std::vector<size_t>& cuts) {
  Reader reader;
  size_t from = 0;
  for (const size_t cut : cuts) {
    if (cut > from) reader.Say(bytes.substr(from, cut - from));
    from = std::max(from, cut);
  }
  reader.Say(bytes.substr(from));
  return reader.understood();
}

TEST(Http1CorpusTest, EveryRequestIsUnderstoodAsWritten) {
  const std::vector<Case> corpus = Corpus();
  ASSERT_GT(corpus.size(), 50u);
  for (const Case& each : corpus) EXPECT_EQ(Understood(each.bytes, {}), each.understood) << each.bytes;
}

TEST(Http1CorpusTest, ReadsOfAnySizeMakeNoDifference) {
  for (const Case& each : Corpus()) {
    std::vector<size_t> all;
    for (size_t cut = 1; cut < each.bytes.size(); ++cut) all.push_back(cut);
    EXPECT_EQ(Understood(each.bytes, all), each.understood) << each.bytes;
    for (const size_t cut : all) EXPECT_EQ(Understood(each.bytes, {cut}), each.understood) << cut << ": " << each.bytes;
  }
}

TEST(Http1CorpusTest, WhatIsChangedAtRandomIsUnderstoodTheSameInAnyReads) {
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return static_cast<size_t>(random()) % n; };
  const std::string alphabet("\r\n \t:;,0a\0\x7f", 12);
  const std::vector<Case> corpus = Corpus();
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = corpus[below(corpus.size())].bytes;
    for (size_t n = below(4); n > 0; --n) {
      const size_t at = below(bytes.size());
      if (below(2) == 0) bytes.erase(at, 1);
      if (below(2) == 0) bytes.insert(std::min(at, bytes.size()), 1, alphabet[below(alphabet.size())]);
    }
    bytes += corpus[below(corpus.size())].bytes;
    std::vector<size_t> cuts;
    for (size_t at = below(9); at < bytes.size(); at += 1 + below(9)) cuts.push_back(at);
    ASSERT_EQ(Understood(bytes, cuts), Understood(bytes, {})) << bytes;
  }
}

}  // namespace
}  // namespace weft::http
