#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/codec.h"
#include "memory_stream.h"

namespace weft::http {
namespace {

using Events = std::vector<std::string>;

// A connection to a server that says what the test wants.
class ClientTest : public testing::Test, public ClientConnection::Owner, public ClientStream::Handler {
 protected:
  ClientTest() : loop_(std::move(*EpollLoop::Create())), context_(*loop_) { Restart(); }

  void Restart() {
    events_.clear();
    body_.clear();
    auto stream = std::make_unique<test::MemoryStream>(context_);
    peer_ = stream.get();
    client_ = MakeHttp1Client(context_, std::move(stream), *this, {});
  }
  ClientStream* Ask(std::string_view method, bool end = true, std::string_view upgrade = {}) {
    RequestHead head(arena_);
    head.method = method;
    head.authority = "a";
    head.path = "/p";
    head.upgrade = upgrade;
    return client_->Open(head, end, *this);
  }
  // What a client hears that has asked by `method`.
  Events Hear(std::string_view answer, std::string_view method = "GET") {
    Restart();
    Ask(method);
    peer_->Say(answer);
    return events_;
  }

  void OnCapacityChanged(ClientConnection&) override {
    events_.push_back("free");
    if (ask_again_) Ask("GET");
  }
  void OnConnectionDown(ClientConnection&, StreamEnd, std::string_view) override {}
  void OnInformational(const ResponseHead& head) override { events_.push_back("info " + std::to_string(head.status)); }
  void OnHead(ResponseHead& head, bool end) override {
    std::string text = std::to_string(head.status) + (head.upgraded ? " upgraded" : "");
    if (head.content_length) text += " length=" + std::to_string(*head.content_length);
    events_.push_back(text + (end ? " end" : ""));
  }
  void OnBody(std::span<const uint8_t> bytes, bool end) override {
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (end) events_.push_back("body " + std::exchange(body_, {}));
  }
  void OnResponseEnd(const HeaderMap* trailers) override {
    std::string text = "body " + std::exchange(body_, {});
    if (trailers != nullptr) {
      for (const Header& each : *trailers) text += " " + std::string(each.name) + "=" + std::string(each.value);
    }
    events_.push_back(text);
  }
  void OnStreamWritable() override { events_.push_back("writable"); }
  void OnStreamClosed(StreamError error) override {
    if (error == StreamError::kNone) {
      events_.push_back("closed");
    } else if (error == StreamError::kProtocol) {
      events_.push_back("broken");
    } else if (error == StreamError::kConnectionClosed) {
      events_.push_back("gone");
    } else {
      events_.push_back("error " + std::to_string(static_cast<int>(error)));
    }
    if (ask_again_) EXPECT_EQ(Ask("GET"), nullptr) << "while an answer is being read";
  }

  std::unique_ptr<EpollLoop> loop_;
  LoopContext context_;
  Arena arena_;
  test::MemoryStream* peer_ = nullptr;
  std::unique_ptr<ClientConnection> client_;
  Events events_;
  std::string body_;
  bool ask_again_ = false;
};

TEST_F(ClientTest, TakesAnswersOfEveryForm) {
  EXPECT_EQ(Hear("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
            (Events{"200 length=2", "body hi", "closed", "free"}));
  EXPECT_EQ(Hear("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n"),
            (Events{"200", "body hi x-t=1", "closed", "free"}));
  EXPECT_EQ(Hear("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
            (Events{"304 length=9 end", "closed", "free"}));
  EXPECT_EQ(Hear("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HEAD"),
            (Events{"200 length=9 end", "closed", "free"}));
  EXPECT_EQ(Hear("HTTP/1.1 204\r\n\r\n"), (Events{"204 end", "closed", "free"}));
  EXPECT_EQ(Hear("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
            (Events{"200 length=0 end", "closed"}));
}

TEST_F(ClientTest, IsReadFurtherWhenAnAnswerEndsThatWasPaused) {
  Restart();
  Ask("GET")->PauseBody();
  EXPECT_TRUE(peer_->paused);
  peer_->Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
  EXPECT_EQ(events_, (Events{"200 length=2", "body hi", "closed", "free"}));
  EXPECT_FALSE(peer_->paused) << "the next answer would never be read";
}

TEST_F(ClientTest, ABodyWithoutALengthEndsWithTheConnection) {
  EXPECT_EQ(Hear("HTTP/1.1 200 OK\r\n\r\nsome"), (Events{"200"}));
  peer_->SayEnd();
  EXPECT_EQ(events_, (Events{"200", "body some", "closed"}));
  Hear("HTTP/1.1 200 OK\r\n\r\nsome");
  peer_->Break(StreamEnd::kReset);
  EXPECT_EQ(events_, (Events{"200", "gone"}));
}

TEST_F(ClientTest, WhatIsCutIsNotWhole) {
  Hear("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi");
  peer_->SayEnd();
  EXPECT_EQ(events_, (Events{"200 length=5", "gone"}));
  Hear("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
  peer_->SayEnd();
  EXPECT_EQ(events_, (Events{"200", "gone"}));
  Hear("HTTP/1.1 20");
  peer_->SayEnd();
  EXPECT_EQ(events_, (Events{"gone"}));
}

// Whoever has the next request would be given the answer that somebody put behind this one.
TEST_F(ClientTest, NothingBehindAnAnswerIsTheNextOne) {
  ask_again_ = true;
  const std::string first = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
  EXPECT_EQ(Hear(first + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
            (Events{"200 length=2", "body hi", "closed"}));
  EXPECT_TRUE(peer_->aborted);
  EXPECT_FALSE(client_->CanOpen());
  // Without anything behind it the connection is used again.
  EXPECT_EQ(Hear(first), (Events{"200 length=2", "body hi", "closed", "free"}));
  EXPECT_EQ(client_->open_streams(), 1u);
}

TEST_F(ClientTest, BytesNobodyAskedForEndTheConnection) {
  peer_->Say("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_TRUE(peer_->aborted);
}

TEST_F(ClientTest, InformationalAnswersLeaveNothingBehind) {
  EXPECT_EQ(Hear("HTTP/1.1 103 Early Hints\r\ncontent-length: 7\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
                 "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            (Events{"info 103", "200", "body ", "closed", "free"}));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_LT(Hear(many).size(), 20u);
  EXPECT_TRUE(peer_->aborted);
}

TEST_F(ClientTest, RefusesAnswersThatTwoReadersCouldReadDifferently) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const std::string& answer :
       {ok + "content-length: 1\r\ncontent-length: 2\r\n\r\n",
        ok + "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", ok + "transfer-encoding: gzip\r\n\r\n",
        ok + "x: a\r\n folded\r\n\r\n", ok + "x : a\r\n\r\n", ok + "x: a\n\r\n", ok + "no colon\r\n\r\n",
        ok + "content-length: -1\r\n\r\n", std::string("HTTP/1.1 2x0 OK\r\n\r\n"), std::string("HTTP/2 200 OK\r\n\r\n"),
        std::string("HTTP/1.1 099 No\r\n\r\n"), std::string("HTTP/1.1 2000 OK\r\n\r\n"),
        std::string("ICY 200 OK\r\n\r\n"), std::string("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")}) {
    EXPECT_EQ(Hear(answer), (Events{"broken"})) << answer;
    EXPECT_TRUE(peer_->aborted);
  }
}

TEST_F(ClientTest, NothingOfATunnelLeavesBeforeItStands) {
  ClientStream* const stream = Ask("GET", false, "websocket");
  EXPECT_EQ(stream->WriteRoom(), 0u);
  EXPECT_NE(peer_->Written().find("upgrade: websocket\r\n"), std::string::npos);
  const std::string early = "GET /evil HTTP/1.1\r\nhost: a\r\n\r\n";
  stream->SendBody({reinterpret_cast<const uint8_t*>(early.data()), early.size()}, false);
  EXPECT_EQ(peer_->Written(), "");
  peer_->Say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello");
  EXPECT_EQ(events_, (Events{"101 upgraded", "writable"}));
  EXPECT_EQ(body_, "hello");
  EXPECT_EQ(peer_->Written(), early);
}

TEST_F(ClientTest, ATunnelThatIsRefusedGetsNothingAndIsNotUsedAgain) {
  ClientStream* const stream = Ask("GET", false, "websocket");
  peer_->Written();
  stream->SendBody({reinterpret_cast<const uint8_t*>("evil"), 4}, false);
  peer_->Say("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(events_, (Events{"403 length=0 end", "closed"}));
  EXPECT_EQ(peer_->Written(), "");
  EXPECT_TRUE(peer_->closed);
}

TEST_F(ClientTest, AnAnswerBeforeTheRequestIsWholeEndsBoth) {
  ClientStream* const stream = Ask("POST", false);
  stream->SendBody({reinterpret_cast<const uint8_t*>("part"), 4}, false);
  peer_->Say("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(events_, (Events{"413 length=0 end", "closed"}));
  EXPECT_TRUE(peer_->closed);
}

TEST_F(ClientTest, AConnectionThatEndsWhileIdleTellsNoStream) {
  peer_->SayEnd();
  EXPECT_TRUE(peer_->aborted);
  EXPECT_EQ(events_, Events{});
  EXPECT_FALSE(client_->CanOpen());
}

}  // namespace
}  // namespace weft::http
