#pragma once

namespace weft {

// A link inside an object that sits in at most one list of its kind. Unlinks itself on destruction.
template <typename T>
class ListLink {
 public:
  ListLink() = default;
  explicit ListLink(T* owner) : owner_(owner) {}
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { Unlink(); }

  bool linked() const { return next_ != nullptr; }
  void Unlink() {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <typename U>
  friend class IntrusiveList;
  T* owner_ = nullptr;
  ListLink* next_ = nullptr;
  ListLink* prev_ = nullptr;
};

// Doubly linked list of objects that it does not own; every operation is O(1).
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (PopFront() != nullptr) {
    }
    head_.next_ = head_.prev_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  T* front() const { return empty() ? nullptr : head_.next_->owner_; }
  void PushBack(ListLink<T>& link) {
    link.Unlink();
    link.prev_ = head_.prev_;
    link.next_ = &head_;
    head_.prev_->next_ = &link;
    head_.prev_ = &link;
  }
  T* PopFront() {
    if (empty()) return nullptr;
    ListLink<T>* link = head_.next_;
    link->Unlink();
    return link->owner_;
  }
  // Moves all of this list to the end of the (empty) `to`.
  void MoveTo(IntrusiveList& to) {
    if (empty()) return;
    head_.next_->prev_ = to.head_.prev_;
    to.head_.prev_->next_ = head_.next_;
    head_.prev_->next_ = &to.head_;
    to.head_.prev_ = head_.prev_;
    head_.next_ = head_.prev_ = &head_;
  }
  // `visit` may unlink the element that it is given, and no other.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (ListLink<T>* link = head_.next_; link != &head_;) {
      ListLink<T>* next = link->next_;
      visit(*link->owner_);
      link = next;
    }
  }

 private:
  ListLink<T> head_;
};

}  // namespace weft
