package sandbox

import (
	"cmp"
	"maps"
	"net/http"
	"time"
)

const notebookKind = "notebook"

func (s *Sandbox) notebookRoutes() []route {
	const base = "/v2/projects/{ref}/notebooks"
	return []route{
		op("v2ListNotebooks", "GET "+base, 200, s.listNotebooks),
		op("v2CreateNotebook", "POST "+base, 201, s.createNotebook),
		op("v2GetNotebook", "GET "+base+"/{id}", 200, s.getNotebook),
		op("v2UpdateNotebook", "PATCH "+base+"/{id}", 200, s.updateNotebook),
		op("v2DeleteNotebook", "DELETE "+base+"/{id}", 204, s.deleteNotebook),
	}
}

// listNotebooks leaves the notebooks' content out.
func (s *Sandbox) listNotebooks(c *call) (any, error) {
	query := c.URL.Query()
	var items []*resource
	for _, item := range c.project.kind(notebookKind).items {
		if name := query.Get("filter[name]"); name != "" && item.Attributes["name"] != name {
			continue
		}
		attributes := maps.Clone(item.Attributes)
		delete(attributes, "content")
		items = append(items, &resource{item.Type, item.ID, attributes})
	}
	return c.page(sorted(items, cmp.Or(query.Get("sort"), "-inserted_at"))), nil
}

func (s *Sandbox) createNotebook(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	if attributes["name"] == nil {
		return nil, refuse(http.StatusBadRequest, "data.attributes.name: Required")
	}
	owner := ownerOf(c.Request)
	author, now := doc{"id": userNumber(owner), "username": owner}, stamp(time.Now())
	whole := with(doc{
		"description": nil, "favorite": false, "content": nil, "inserted_at": now, "updated_at": now, "owner": author, "updated_by": author,
	}, attributes)
	whole["content"] = notebookContent(whole["content"])
	return data(c.project.kind(notebookKind).add(notebookKind, newID(), whole)), nil
}

// notebookContent fills in what upstream adds to cells: an id, and a limit to what a query shows.
func notebookContent(given any) doc {
	content, _ := given.(doc)
	cells, _ := content["cells"].([]any)
	filled := []doc{}
	for _, cell := range cells {
		d, _ := cell.(doc)
		filled = append(filled, with(doc{"id": newID()}, d))
		if d["type"] == "database" && d["row_limit"] == nil {
			filled[len(filled)-1]["row_limit"] = 100
		}
	}
	return doc{"schema_version": 1, "cells": filled}
}

func (s *Sandbox) getNotebook(c *call) (any, error) {
	item, err := c.project.kind(notebookKind).find(c.PathValue("id"))
	if err != nil {
		return nil, missing("Notebook")
	}
	return data(item), nil
}

func (s *Sandbox) updateNotebook(c *call) (any, error) {
	item, err := c.project.kind(notebookKind).find(c.PathValue("id"))
	if err != nil {
		return nil, missing("Notebook")
	}
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	if content, changes := attributes["content"]; changes {
		attributes["content"] = notebookContent(content)
	}
	merge(item.Attributes, attributes)
	owner := ownerOf(c.Request)
	item.Attributes["updated_at"] = stamp(time.Now())
	item.Attributes["updated_by"] = doc{"id": userNumber(owner), "username": owner}
	return data(item), nil
}

func (s *Sandbox) deleteNotebook(c *call) (any, error) {
	if _, err := c.project.kind(notebookKind).find(c.PathValue("id")); err != nil {
		return nil, missing("Notebook")
	}
	c.project.kind(notebookKind).remove(c.PathValue("id"))
	return nil, nil
}
